"""The rules that a readable clip is held against, each a function that returns a fault or None."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...families.base import ModelSpec
from ..settings.clips import ClipSettings
from .buckets import bucket_of, upscaling
from .clip import Probe
from .fault import Fault
from .windows import fewest_frames, frames_at, target_fps

#: Frames per second that people film with; what lies outside is mostly a wrong entry, or stutters.
_SLOWEST, _FASTEST = 8.0, 120.0
#: For how long, and for how many usual frames, one frame must stand to be told.
_GAP_SECONDS, _GAP_FRAMES = 0.5, 4
#: The highest level of a frame that counts as black.
_BLACK = 32
#: By how many of the 255 levels the frames of a still clip differ once they are compressed.
_STILL = 12
#: The share of frames of one colour from which it is told.
_PARTLY = 0.25

Rule = Callable[[Probe, ClipSettings, ModelSpec], Fault | None]


def faults_of(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Iterator[Fault]:
    """Yield what speaks against a clip."""
    for rule in _RULES:
        fault = rule(probe, settings, spec)
        if fault is not None:
            yield fault


def _too_short(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.is_picture:
        return None
    fps, least = target_fps(settings, spec), fewest_frames(settings, spec)
    available = frames_at(probe, fps)
    if available >= least:
        return None
    what = f"is too short: {probe.seconds:.2f} s make {available} frames at {fps:g} fps, {least} are needed"
    return Fault("too_short", what)


def _picture(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if not (probe.is_picture and spec.image_conditioned):
        return None
    return Fault("picture", f"is a picture, of which {spec.title} is told all there is to learn")


def _blank(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.num_blank < probe.num_frames:
        if probe.num_blank < _PARTLY * probe.num_frames:
            return None
        return Fault("partly_blank", f"{probe.num_blank} of its {probe.num_frames} frames are of one colour all over")
    if probe.brightest <= _BLACK:
        return Fault("black", "is black" if probe.is_picture else "is black in every frame")
    return Fault("one_colour", f"is of one colour all over{'' if probe.is_picture else ' in every frame'}")


def _frozen(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.num_frames == 1 or probe.change > _STILL or probe.num_blank == probe.num_frames:
        return None
    return Fault("frozen", f"stands still: its {probe.num_frames} frames are all the same")


def _enlarged(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    factor = upscaling(probe, bucket_of(probe, settings, spec))
    if factor <= settings.max_upscale * (1 + 1e-6):
        return None
    what = f"would be enlarged {factor:.1f} times from {probe.width}x{probe.height}, at most {settings.max_upscale:g}"
    return Fault("enlarged", what)


def _unusual_speed(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.is_picture:
        return None
    if not _SLOWEST <= probe.fps <= _FASTEST:
        return Fault("unusual_speed", f"has {probe.fps:.4g} frames per second")
    if probe.longest_gap > max(_GAP_SECONDS, _GAP_FRAMES / probe.fps):
        what = f"one of its frames stands for {probe.longest_gap:.2f} s, the mean one for {1 / probe.fps:.2f} s"
        return Fault("unusual_speed", what)
    return None


_RULES: tuple[Rule, ...] = (_too_short, _picture, _blank, _frozen, _enlarged, _unusual_speed)
