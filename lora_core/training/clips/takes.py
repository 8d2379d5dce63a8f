"""A take: one window of one clip, brought to a bucket, of which several variants may be trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from ...families.base import ModelSpec
from ..settings.clips import ClipSettings
from .buckets import Bucket, bucket_of, covering_size
from .clip import Clip
from .frames import read_frames
from .split import held_out_names
from .variants import CENTRE, Variant, variants_of
from .windows import Window, windows_of


@dataclass(frozen=True)
class Take:
    """One window of one clip; its variants are cut out of the same decoded frames.

    Attributes:
        clip: what it is of, `held_out` decided.
        is_only: whether the clip has no other window.
    """

    clip: Clip
    window: Window
    bucket: Bucket
    variants: tuple[Variant, ...]
    is_only: bool

    def name(self, variant: Variant) -> str:
        """Return what people call this window in one of its variants."""
        window = "" if self.is_only else f"at {self.window}"
        parts = ", ".join(filter(None, (window, str(variant))))
        return f"{self.clip.name} ({parts})" if parts else self.clip.name

    def frames(self, background: str) -> np.ndarray:
        """Return the frames (T, H, W, 3), as large as they must be to cover the bucket."""
        return read_frames(self.clip.path, self.window.times, background, partial(_cover, bucket=self.bucket))


def takes_of(clips: Sequence[Clip], settings: ClipSettings, spec: ModelSpec) -> tuple[Take, ...]:
    """Return all windows of all clips; only what is trained on has variants."""
    held_out = held_out_names(clips, settings.held_out)
    marked = [replace(clip, held_out=clip.name in held_out) for clip in clips]
    return tuple(take for clip in marked for take in _takes_of(clip, settings, spec))


def _takes_of(clip: Clip, settings: ClipSettings, spec: ModelSpec) -> Iterator[Take]:
    bucket = bucket_of(clip.probe, settings, spec)
    windows = windows_of(clip.probe, settings, spec)
    variants = (CENTRE,) if clip.held_out else variants_of(clip.probe, bucket, settings)
    for window in windows:
        yield Take(clip, window, bucket, variants, is_only=len(windows) == 1)


def _cover(frame: np.ndarray, bucket: Bucket) -> np.ndarray:
    """Scale a frame (H, W, 3) to the least size that covers a bucket."""
    height, width = covering_size(frame.shape[0], frame.shape[1], bucket)
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))
