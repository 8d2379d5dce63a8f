"""A checkpoint in torch's distributed form, a folder of `.distcp` files, to be put together before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..wording import Said, said

_SUFFIX = ".distcp"


class Refused(NamedTuple):
    """Why a path is not read, and what to do."""

    what: Said
    expected: Said
    remedy: Said


def refusal_of(path: Path) -> Refused | None:
    """Return why a folder of `.distcp` files, the one above it, or one of them, is not read; None for any other path.

    NVIDIA's trainings leave `iter_000002000/model/__0_0.distcp`, beside folders of the optimiser's.
    """
    if not (path.suffix == _SUFFIX or any(next(path.glob(found), None) for found in (f"*{_SUFFIX}", f"*/*{_SUFFIX}"))):
        return None
    what = said("it is a distributed checkpoint, whose tensors lie in pieces in its .distcp files")
    remedy = said(
        "Put them together first with NVIDIA's scripts/convert_distcp.py (it keeps the moving average, EMA, alone), "
        "and give the .pt that it writes"
    )
    return Refused(what, said("one file, .pt or .safetensors"), remedy)
