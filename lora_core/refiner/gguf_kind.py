"""The kind of network in a GGUF, by the beginning of its header, before any of it is unpacked."""

from __future__ import annotations

import struct
from pathlib import Path

#: Architectures, as llama.cpp calls them, that read a text or a picture and do not go on with one.
ENCODERS = frozenset({"t5encoder", "clip", "bert", "nomic-bert", "modern-bert", "jina-bert-v2"})

#: llama.cpp, and all who follow it, write this entry first.
_KEY = b"general.architecture"
_TEXT = 8
#: magic, version, how many tensors, how many entries; the length of the first key.
_HEAD = struct.Struct("<4sIQQQ")


def kind_in_gguf(file: Path) -> str | None:
    """Return the architecture that a GGUF states; "" where it states none first, None where it is no GGUF.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        start = opened.read(_HEAD.size + len(_KEY) + 12 + 64)
    if len(start) < _HEAD.size or start[:4] != b"GGUF":
        return None
    *_, key_length = _HEAD.unpack_from(start)
    place = _HEAD.size + len(_KEY)
    if key_length != len(_KEY) or start[_HEAD.size : place] != _KEY or len(start) < place + 12:
        return ""
    kind, length = struct.unpack_from("<IQ", start, place)
    return start[place + 12 : place + 12 + min(length, 64)].decode(errors="replace") if kind == _TEXT else ""
