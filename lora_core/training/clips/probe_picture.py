"""The probe of a picture, which may move: read by Pillow to its last frame."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from ...checks import first_line
from .clip import Probe
from .fault import Fault, UnusableClipError
from .glance import SIDE, before, glances, summed_up

#: What Pillow raises of damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_ORIENTATION, _SIDEWAYS = 0x0112, range(5, 9)
#: What browsers and ffmpeg play for a frame that says less than the first, in milliseconds.
_LEAST_DURATION, _USUAL_DURATION = 11, 100


def probe_picture(path: Path, fingerprint: str, background: Sequence[int]) -> Probe:
    """Return what a picture is; one of several frames is a video."""
    try:
        with Image.open(path) as picture:
            moves = getattr(picture, "n_frames", 1) > 1
            seen = list(glances(_thumbnails(picture, background)))
            width, height = picture.size
            is_sideways = picture.getexif().get(_ORIENTATION) in _SIDEWAYS
    except UnidentifiedImageError as error:
        raise UnusableClipError(path, _no_picture(path)) from error
    except _TOO_LARGE as error:
        raise UnusableClipError(path, Fault("unreadable", "is too large a picture", "Make it smaller")) from error
    except _DAMAGE as error:
        raise UnusableClipError(path, _damage(error)) from error
    size = (height, width) if is_sideways else (width, height)
    return summed_up(seen, size, fingerprint, rate=1000 / _USUAL_DURATION if moves else 0.0)


def _thumbnails(picture: Image.Image, background: Sequence[int]) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds, thumbnail) of each frame."""
    time = 0.0
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        yield time / 1000, _thumbnail(frame, background)
        duration = frame.info.get("duration", 0)
        time += duration if duration >= _LEAST_DURATION else _USUAL_DURATION


def _thumbnail(frame: Image.Image, background: Sequence[int]) -> np.ndarray:
    if frame.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off above 255
        grey = np.clip(np.asarray(frame).astype(np.float32) / 257, 0, 255)
        frame = Image.fromarray(grey.astype(np.uint8))
    small = frame.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BOX)
    return before(np.asarray(small), background)


def _no_picture(path: Path) -> Fault:
    """Say of what Pillow does not know whether it is a video by another name."""
    import av

    from .probe_video import is_of_pictures, opened

    try:
        with opened(path) as container:
            known = bool(container.streams.video) and not is_of_pictures(container)
    except (av.FFmpegError, OSError):
        known = False
    if not known:
        return Fault("unreadable", "is no picture")
    return Fault("mislabelled", f"is a video, named {path.suffix}", "Rename it to .mp4, .mkv or what it is")


def _damage(error: Exception) -> Fault:
    reason = first_line(error)
    if "truncated" in reason.lower():
        return Fault("cut_short", f"is cut short: {reason}")
    return Fault("damaged", f"is damaged: {reason}")
