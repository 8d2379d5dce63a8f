"""The reading of a stack: its files found, verified and opened, and the twins of high-noise files brought along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from ..families.base import ModelSpec
from ..files.read import read_lora
from ..files.weights import LoraWeights
from .entry import LoraEntry
from .preset import verify_hashes, with_found_files
from .stack import LoraStack
from .twins import with_twin

#: Reads one file; a host that keeps what it has read brings its own.
Reader = Callable[[Path], LoraWeights]


def load_stack(
    stack: LoraStack,
    spec: ModelSpec,
    *,
    lora_folders: Sequence[str | Path] = (),
    find_twins: bool = True,
    allow_partial: bool = False,
    read: Reader | None = None,
) -> LoraStack:
    """Return the stack with the weights of every enabled entry; what is in memory already is kept.

    Args:
        stack: the user's stack.
        spec: the model the files are read for.
        lora_folders: where its files lie, and nowhere else; without any, paths are taken as they are.
        find_twins: False switches the search for twins off for all entries.
        allow_partial: let files in which some tensors match nothing through.
        read: what reads a file, `files.read_lora` by default; each file is read once.
    """
    read_once = cache(read or partial(read_lora, spec=spec, allow_partial=allow_partial))

    def load(entry: LoraEntry) -> LoraEntry:
        found = with_found_files(entry, lora_folders)
        verify_hashes([found])
        if found.weights is None and found.path is not None:
            found = replace(found, weights=read_once(found.path))
        if find_twins:
            found = with_twin(found, lora_folders)
        if found.low_noise_weights is None and found.low_noise_path is not None:
            found = replace(found, low_noise_weights=read_once(found.low_noise_path))
        return found

    return LoraStack(tuple(load(entry) if entry.enabled else entry for entry in stack))
