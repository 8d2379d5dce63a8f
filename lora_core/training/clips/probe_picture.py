"""The probe of a picture, which may move: read by Pillow to its last frame."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...checks import first_line
from ...wording import said
from .background import Colour, laid_over
from .clip import Probe
from .fault import Fault, UnusableClipError
from .glance import SIDE, glances, summed_up
from .picture_file import USUAL_DURATION, in_bytes, stamped_frames
from .video_file import is_of_pictures, opened

#: What Pillow raises of damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_ORIENTATION, _SIDEWAYS = 0x0112, range(5, 9)


def probe_picture(path: Path, fingerprint: str, background: Colour) -> Probe:
    """Return what a picture is; one of several frames is a video."""
    try:
        with Image.open(path) as picture:
            moves = getattr(picture, "n_frames", 1) > 1
            frames = stamped_frames(picture)
            seen = list(glances((time, _thumbnail(frame, background)) for time, frame in frames))
            width, height = picture.size
            is_sideways = picture.getexif().get(_ORIENTATION) in _SIDEWAYS
    except UnidentifiedImageError as error:
        raise UnusableClipError(path, _no_picture(path)) from error
    except _TOO_LARGE as error:
        raise UnusableClipError(
            path, Fault("unreadable", said("is too large a picture"), said("Make it smaller"))
        ) from error
    except _DAMAGE as error:
        raise UnusableClipError(path, _damage(error)) from error
    size = (height, width) if is_sideways else (width, height)
    return summed_up(seen, size, fingerprint, rate=1000 / USUAL_DURATION if moves else 0.0)


def _thumbnail(frame: Image.Image, background: Colour) -> np.ndarray:
    small = in_bytes(frame).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BOX)
    return laid_over(np.asarray(small), background)


def _no_picture(path: Path) -> Fault:
    """Say of what Pillow does not know whether it is a video by another name."""
    import av

    try:
        with opened(path) as container:
            known = bool(container.streams.video) and not is_of_pictures(container)
    except (av.FFmpegError, OSError):
        known = False
    if not known:
        return Fault("unreadable", said("is no picture"))
    what = said("is a video, named {suffix}", suffix=path.suffix)
    return Fault("mislabelled", what, said("Rename it to .mp4, .mkv or what it is"))


def _damage(error: Exception) -> Fault:
    reason = first_line(error)
    if "truncated" in reason.lower():
        return Fault("cut_short", said("is cut short: {why}", why=reason))
    return Fault("damaged", said("is damaged: {why}", why=reason))
