"""A bucket: the size and number of frames that clips of like aspect and length are brought to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ...errors import TrainingError
from ...families.base import ModelSpec
from ...wording import said
from ..settings.clips import ClipSettings
from .clip import Probe
from .windows import frames_at, frames_wanted, target_fps, whole_count

#: Nobody films longer strips than this, and beyond it a bucket would hold little but what was cut away.
_MAX_ASPECT = 4.0


@dataclass(frozen=True, order=True)
class Bucket:
    """What a clip is brought to, in frames and pixels."""

    num_frames: int
    height: int
    width: int

    def __str__(self) -> str:
        frames = "1 frame" if self.num_frames == 1 else f"{self.num_frames} frames"
        return f"{self.width}x{self.height}, {frames}"


def bucket_of(probe: Probe, settings: ClipSettings, spec: ModelSpec) -> Bucket:
    """Return the bucket of a clip: the nearest aspect, and as many frames as are wanted and there."""
    aspect = math.log(probe.shown_width / probe.height)
    sizes = sizes_of(settings.resolution, spec)
    height, width = min(sizes, key=lambda size: abs(math.log(size[1] / size[0]) - aspect))
    if probe.is_picture:
        return Bucket(1, height, width)
    available = frames_at(probe, target_fps(settings, spec))
    return Bucket(min(frames_wanted(settings, spec), whole_count(available, spec)), height, width)


def sizes_of(resolution: int, spec: ModelSpec) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of all buckets: one for each short side, tall and wide, all of about one area."""
    clip = spec.default_clip
    area = resolution**2 if resolution else clip.height * clip.width
    sizes = _sizes(area, _steps(spec), spec.max_positions)
    if not sizes:
        rows, columns = _steps(spec)
        expected = said(
            "{lowest} to {highest} for {spec}",
            lowest=max(rows, columns),
            highest=max(rows, columns) * (spec.max_positions or 1024),
            spec=spec.title,
        )
        raise TrainingError(
            "resolution",
            said("{resolution} pixels a side fit no bucket", resolution=resolution),
            expected=expected,
            remedy="Choose a number in that range",
        )
    return sizes


def upscaling(probe: Probe, bucket: Bucket) -> float:
    """Return by how much a clip is enlarged on its way into a bucket; below 1 where it is shrunk."""
    return max(bucket.height / probe.height, bucket.width / probe.shown_width)


def covering_size(height: int, width: int, bucket: Bucket) -> tuple[int, int]:
    """Return the least (height, width) of the aspect of a picture that covers a bucket."""
    factor = max(bucket.height / height, bucket.width / width)
    return max(bucket.height, round(height * factor)), max(bucket.width, round(width * factor))


def _steps(spec: ModelSpec) -> tuple[int, int]:
    """Return of what the rows and the columns of a clip are multiples: whole patches of whole latents."""
    rows, columns = (stride * patch for stride, patch in zip(spec.vae_stride[1:], spec.patch_size[1:], strict=True))
    return rows, columns


@lru_cache(maxsize=64)
def _sizes(area: int, steps: tuple[int, int], max_positions: int | None) -> tuple[tuple[int, int], ...]:
    most = max_positions or area
    rows, columns = steps
    tall = {(height, width) for width, height in _pairs(area, columns, rows)}
    found = tall | set(_pairs(area, rows, columns))
    return tuple(sorted(size for size in found if size[0] <= most * rows and size[1] <= most * columns))


def _pairs(area: int, short_step: int, long_step: int) -> Iterator[tuple[int, int]]:
    """Yield for each short side the long side with which it comes nearest to the area."""
    for short in range(short_step, round(math.sqrt(area)) + short_step, short_step):
        long = long_step * round(area / short / long_step)
        if short <= long <= _MAX_ASPECT * short:
            yield short, long
