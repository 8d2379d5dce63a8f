"""The transformer block that a target lies in."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def block_of(target: str) -> tuple[int, str] | None:
    """Return (the block's number, the path inside it), or None for a target outside the blocks."""
    match = _BLOCK.fullmatch(target)
    return (int(match[1]), match[2]) if match else None
