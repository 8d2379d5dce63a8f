"""A picture file as Pillow opens it, which may move: each of its frames with the time at which it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np
from PIL import Image, ImageSequence

from .layout import PICTURE_SUFFIXES

#: What browsers and ffmpeg play for a frame that says less than the first, in milliseconds.
_LEAST_DURATION, USUAL_DURATION = 11, 100


def is_read_as_picture(path: PurePath) -> bool:
    """Say whether a file is one for Pillow, which knows how the frames of a GIF build on each other."""
    return path.suffix.lower() in (*PICTURE_SUFFIXES, ".gif")


def stamped_frames(picture: Image.Image) -> Iterator[tuple[float, Image.Image]]:
    """Yield (seconds behind the first, frame); they build on each other, so none is passed over."""
    time = 0.0
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        yield time / 1000, frame
        duration = frame.info.get("duration", 0)
        time += duration if duration >= _LEAST_DURATION else USUAL_DURATION


def in_bytes(frame: Image.Image) -> Image.Image:
    """Return a frame with 8 bits a level; 16 bits of grey Pillow itself would cut off above 255."""
    if not frame.mode.startswith("I"):
        return frame
    grey = np.asarray(frame).astype(np.float32) / 257
    return Image.fromarray(np.rint(np.clip(grey, 0, 255)).astype(np.uint8))
