"""The ending of a video file: whether all the bytes are there that its container speaks of.

Containers tell how long they are; a decoder only stops where the bytes do, and calls what it has got the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

#: The first boxes that MP4 and QuickTime files have, ISO/IEC 14496-12.
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_EBML, _SEGMENT = bytes.fromhex("1A45DFA3"), bytes.fromhex("18538067")


def missing_end(path: Path) -> str:
    """Say what is missing at the end of a file, "" where nothing is or its container does not tell."""
    with path.open("rb") as file:
        start = file.read(12)
        check = next((check for begins, check in _CHECKS if begins(start)), None)
        file.seek(0)
        return check(file, os.fstat(file.fileno()).st_size) if check else ""


def _boxes(file: BinaryIO, num_bytes: int) -> str:
    """Walk the outermost boxes; without `moov`, the index, nothing in the others can be found."""
    place, has_index = 0, False
    while place + 8 <= num_bytes:
        file.seek(place)
        size, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        has_index = has_index or kind == b"moov"
        if size < 8:  # 0: up to the end of the file, whatever that is; else padding
            break
        place += size
    return _short(place, num_bytes) or ("" if has_index else "its index is missing")


def _riff(file: BinaryIO, num_bytes: int) -> str:
    """Walk the outermost chunks; an AVI beyond a gigabyte has several."""
    place = 0
    while place + 8 <= num_bytes:
        file.seek(place)
        kind, size = file.read(4), int.from_bytes(file.read(4), "little")
        if kind != b"RIFF" or not size:
            break
        place += 8 + size
    return _short(place, num_bytes)


def _matroska(file: BinaryIO, num_bytes: int) -> str:
    """Read the size of the header and of the one segment behind it, RFC 8794; a live recording leaves it open."""
    file.seek(len(_EBML))
    header = _ebml_size(file)
    if header is None:
        return ""
    file.seek(header, os.SEEK_CUR)
    segment = _ebml_size(file) if file.read(len(_SEGMENT)) == _SEGMENT else None
    return "" if segment is None else _short(file.tell() + segment, num_bytes)


def _ebml_size(file: BinaryIO) -> int | None:
    """Read a number whose leading zero bits tell its length in bytes; None where all its bits are ones: not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") - (1 << 7 * length)
    return None if value == (1 << 7 * length) - 1 else value


def _gif(file: BinaryIO, num_bytes: int) -> str:
    """Look for the mark at the end, behind which some programs leave a few zeros."""
    file.seek(-min(num_bytes, 64), os.SEEK_END)
    return "" if file.read().rstrip(b"\0").endswith(b";") else "its end mark is missing"


def _short(stated: int, num_bytes: int) -> str:
    return f"{num_bytes:,} of {stated:,} bytes are there" if stated > num_bytes else ""


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], str]], ...] = (
    (lambda start: start[4:8] in _BOXES, _boxes),
    (lambda start: start.startswith(b"RIFF"), _riff),
    (lambda start: start.startswith(_EBML), _matroska),
    (lambda start: start.startswith(b"GIF8"), _gif),
)
