"""The rules that a readable clip is held against, each a function that returns a fault or None."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...families.base import ModelSpec
from ...wording import said
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
    what = said(
        "is too short: {seconds} s make {frames} frames at {fps} fps, {least} are needed",
        seconds=f"{probe.seconds:.2f}",
        frames=available,
        fps=f"{fps:g}",
        least=least,
    )
    return Fault("too_short", what)


def _picture(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if not (probe.is_picture and spec.image_conditioned):
        return None
    return Fault("picture", said("is a picture, of which {model} is told all there is to learn", model=spec.title))


def _blank(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.num_blank < probe.num_frames:
        if probe.num_blank < _PARTLY * probe.num_frames:
            return None
        counts = {"count": probe.num_blank, "all": probe.num_frames}
        return Fault("partly_blank", said("{count} of its {all} frames are of one colour all over", **counts))
    if probe.brightest <= _BLACK:
        return Fault("black", said("is black" if probe.is_picture else "is black in every frame"))
    what = said("is of one colour all over" if probe.is_picture else "is of one colour all over in every frame")
    return Fault("one_colour", what)


def _frozen(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.num_frames == 1 or probe.change > _STILL or probe.num_blank == probe.num_frames:
        return None
    return Fault("frozen", said("stands still: its {count} frames are all the same", count=probe.num_frames))


def _enlarged(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    factor = upscaling(probe, bucket_of(probe, settings, spec))
    if factor <= settings.max_upscale * (1 + 1e-6):
        return None
    what = said(
        "would be enlarged {factor} times from {size}, at most {most}",
        factor=f"{factor:.1f}",
        size=f"{probe.width}x{probe.height}",
        most=f"{settings.max_upscale:g}",
    )
    return Fault("enlarged", what)


def _unusual_speed(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Fault | None:
    if probe.is_picture:
        return None
    if not _SLOWEST <= probe.fps <= _FASTEST:
        return Fault("unusual_speed", said("has {fps} frames per second", fps=f"{probe.fps:.4g}"))
    if probe.longest_gap > max(_GAP_SECONDS, _GAP_FRAMES / probe.fps):
        what = said(
            "one of its frames stands for {longest} s, the mean one for {mean} s",
            longest=f"{probe.longest_gap:.2f}",
            mean=f"{1 / probe.fps:.2f}",
        )
        return Fault("unusual_speed", what)
    return None


_RULES: tuple[Rule, ...] = (_too_short, _picture, _blank, _frozen, _enlarged, _unusual_speed)
