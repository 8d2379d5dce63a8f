"""The probe of a video or picture: the whole file is decoded once, at a low cost, and what it is is told."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...wording import said
from .background import parse_colour
from .clip import Probe
from .ending import missing_end
from .fault import Fault, UnusableClipError
from .picture_file import is_read_as_picture
from .probe_picture import probe_picture
from .probe_video import probe_video

_CHUNK = 1 << 20


def probe(path: Path, background: str = "000000") -> Probe:
    """Return what a video or picture is, read to its end; raise `UnusableClipError` where it is not whole.

    Args:
        path: the file; as what it is read is decided by how its name ends.
        background: what transparency shows, as red, green, blue in hexadecimal.
    """
    shown = parse_colour(background)
    try:
        if not path.stat().st_size:
            raise UnusableClipError(path, Fault("empty", said("is empty: 0 bytes")))
        missing = missing_end(path)
        if missing:
            raise UnusableClipError(path, Fault("cut_short", said("is cut short: {why}", why=missing)))
        fingerprint = _sha256(path)
    except OSError as error:
        what = said("cannot be read: {why}", why=error.strerror or str(error))
        raise UnusableClipError(path, Fault("unreadable", what)) from error
    read = probe_picture if is_read_as_picture(path) else probe_video
    return read(path, fingerprint, shown)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
