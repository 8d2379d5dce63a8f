"""The reading of a grid's stacks: cells have most files in common, and each is read once while it is in use."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..families.base import ModelSpec
from ..files.read import read_lora
from ..files.weights import LoraWeights
from ..stack.loading import load_stack
from .subject import Load

#: Of large models a file's weights take a gigabyte once they have acted.
_NUM_FILES_KEPT = 8


def reader(spec: ModelSpec, *, allow_partial: bool = False, download: bool = False) -> Load:
    """Return what reads stacks for a model; arguments as those of `load_stack`."""

    @lru_cache(maxsize=_NUM_FILES_KEPT)
    def read(path: Path) -> LoraWeights:
        return read_lora(path, spec=spec, allow_partial=allow_partial)

    return lambda stack: load_stack(stack, spec, read=read, download=download)
