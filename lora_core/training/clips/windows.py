"""A window: which frames of a clip are used, on the grid of the rate that the model plays at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import TrainingError
from ...families.base import ModelSpec
from ...wording import said
from ..settings.clips import ClipSettings
from .clip import Probe

#: By how much of a frame the last one may lie behind the end of a clip, whose mean rate is never quite exact.
_SLACK = 0.25


@dataclass(frozen=True)
class Window:
    """Some frames of a clip, counted at the target rate.

    Attributes:
        first: the first frame.
        num_frames: how many of them.
        fps: the target rate; 0 for a picture.
    """

    first: int
    num_frames: int
    fps: float

    @property
    def times(self) -> tuple[float, ...]:
        """When each frame is shown, in seconds behind the clip's first."""
        return tuple((self.first + index) / self.fps if self.fps else 0.0 for index in range(self.num_frames))

    def __str__(self) -> str:
        return f"{self.times[0]:.2f} s"


def windows_of(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> tuple[Window, ...]:
    """Return the windows of a clip; none where it is too short."""
    if probe.is_picture:
        return (Window(0, 1, 0.0),)
    fps = target_fps(settings, spec)
    available = frames_at(probe, fps)
    num_frames = min(frames_wanted(settings, spec), whole_count(available, spec))
    if available < fewest_frames(settings, spec):
        return ()
    firsts = _CUTS[settings.cut](available - num_frames, num_frames, settings.num_windows)
    return tuple(Window(first, num_frames, fps) for first in dict.fromkeys(firsts))


#: Rule -> (how late a window may begin, its frames, how many windows are wanted) -> where windows begin.
_CUTS: dict[str, Callable[[int, int, int], list[int]]] = {
    "head": lambda last, num_frames, num_windows: [0],
    "middle": lambda last, num_frames, num_windows: [last // 2],
    "uniform": lambda last, num_frames, num_windows: [
        round(index * last / max(1, num_windows - 1)) for index in range(num_windows)
    ],
    "sliding": lambda last, num_frames, num_windows: list(range(0, last + 1, num_frames)),
}


def target_fps(settings: ClipSettings, spec: ModelSpec) -> float:
    """Return the rate that clips are resampled to."""
    return settings.fps or spec.default_clip.fps


def frames_wanted(settings: ClipSettings, spec: ModelSpec) -> int:
    """Return how many frames a window has where its clip is long enough."""
    num_frames, stride = settings.num_frames or spec.default_clip.num_frames, spec.vae_stride[0]
    if num_frames != whole_count(num_frames, spec):
        below = whole_count(num_frames, spec)
        raise TrainingError(
            "num_frames",
            f"{num_frames}",
            expected=said("{stride}k+1, such as {below} or {above}", stride=stride, below=below, above=below + stride),
            remedy="Choose one of them",
        )
    if spec.max_positions is not None and (num_frames - 1) // stride >= spec.max_positions:
        most = (spec.max_positions - 1) * stride + 1
        raise TrainingError(
            "num_frames",
            f"{num_frames}",
            expected=said("at most {most} for {spec}", most=most, spec=spec.title),
            remedy="Lower it",
        )
    return num_frames


def fewest_frames(settings: ClipSettings, spec: ModelSpec) -> int:
    """Return with how many frames at the target rate a clip is long enough."""
    wanted = frames_wanted(settings, spec)
    if settings.min_frames > wanted:
        what = said(
            "{min_frames} is more than a window's {wanted} frames", min_frames=settings.min_frames, wanted=wanted
        )
        raise TrainingError(
            "min_frames", what, expected=said("1 to {wanted}, or 0 for all {wanted}", wanted=wanted), remedy="Lower it"
        )
    return settings.min_frames or wanted


def frames_at(probe: Probe, fps: float) -> int:
    """Return how many frames a clip has when it is resampled to `fps` by its time stamps."""
    if probe.is_picture:
        return 1
    last_shown = (probe.num_frames - 1) / probe.fps
    return int(last_shown * fps + _SLACK) + 1


def whole_count(num_frames: int, spec: ModelSpec) -> int:
    """Return the largest 4k+1 within a number of frames, for a VAE that packs 4 into one."""
    stride = spec.vae_stride[0]
    return (num_frames - 1) // stride * stride + 1
