"""The reading of a stack: its files found, verified and opened, and the twins of high-noise files brought along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from .entry import LoraEntry
from .errors import LoraFileError
from .families.base import ModelSpec
from .files.expert import find_twin
from .files.read import read_lora
from .files.weights import LoraWeights
from .lora_folders import find_lora
from .preset import verify_hashes, with_found_files
from .stack import LoraStack

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
        if find_twins and _wants_twin(found):
            found = _with_twin(found, lora_folders)
        if found.low_noise_weights is None and found.low_noise_path is not None:
            found = replace(found, low_noise_weights=read_once(found.low_noise_path))
        return found

    return LoraStack(tuple(load(entry) if entry.enabled else entry for entry in stack))


def _wants_twin(entry: LoraEntry) -> bool:
    """Say whether an entry is a high-noise file, left to what it says of itself, with nothing for the low expert."""
    is_alone = entry.low_noise_path is None and entry.low_noise_weights is None
    is_high = entry.weights is not None and entry.weights.expert == "high_noise"
    return entry.find_twin and entry.applies_to == "auto" and is_alone and is_high and entry.path is not None


def _with_twin(entry: LoraEntry, lora_folders: Sequence[str | Path]) -> LoraEntry:
    """Return the entry with the low-noise file beside its own, or unchanged if there is none; advice tells which."""
    assert entry.path is not None
    try:
        twin = find_lora(find_twin(entry.path), lora_folders)
    except LoraFileError:
        return entry
    return replace(entry, low_noise_path=twin, found_twin=True)
