"""A variant: where a clip is cropped, and whether it is mirrored."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from ..settings.clips import ClipSettings
from .buckets import Bucket, covering_size
from .clip import Probe


@dataclass(frozen=True)
class Variant:
    """One way of looking at a clip that covers its bucket.

    Attributes:
        across, down: where the crop lies in what is left over, 0 for the left or top, 1 for the right or bottom.
        mirrored: left and right changed.
    """

    across: float = 0.5
    down: float = 0.5
    mirrored: bool = False

    def cut(self, frames: np.ndarray, bucket: Bucket) -> np.ndarray:
        """Return the part (T, height, width, 3) of the bucket's size out of frames (T, H, W, 3) that cover it."""
        top = round(self.down * (frames.shape[1] - bucket.height))
        left = round(self.across * (frames.shape[2] - bucket.width))
        part = frames[:, top : top + bucket.height, left : left + bucket.width]
        return part[:, :, ::-1] if self.mirrored else part

    def __str__(self) -> str:
        crop = "" if (self.across, self.down) == (0.5, 0.5) else f"crop at {self.across:.2f}, {self.down:.2f}"
        return ", ".join(filter(None, (crop, "mirrored" if self.mirrored else "")))


#: The crop in the middle.
CENTRE = Variant()


def variants_of(probe: Probe, bucket: Bucket, settings: ClipSettings) -> tuple[Variant, ...]:
    """Return the variants that a clip is trained in; the same ones whenever its bytes are the same."""
    crops = [CENTRE]
    if settings.num_crops and _has_room(probe, bucket):
        draws = random.Random(probe.fingerprint)
        crops = [Variant(round(draws.random(), 3), round(draws.random(), 3)) for _ in range(settings.num_crops)]
    mirrored = [Variant(crop.across, crop.down, mirrored=True) for crop in crops] if settings.flip else []
    return (*crops, *mirrored)


def _has_room(probe: Probe, bucket: Bucket) -> bool:
    return covering_size(probe.height, probe.shown_width, bucket) != (bucket.height, bucket.width)
