"""The loading of a stack: its files found, verified and read for a model, with the twins of high-noise files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from ..checks import first_few, shape_text, typed
from ..deltas import fits
from ..errors import LoraMismatchError, StackError
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..families.registry import come_in_pairs
from ..files.weights import LoraWeights, outlines_of
from ..wording import said
from .entry import LoraEntry
from .hashes import verify_hashes
from .loaded import LoadedLora, LoadedStack
from .row_files import files_named, twin_left_out, with_found_files, with_twin
from .stack import LoraStack

#: Reads one file; a host that keeps what it has read brings its own.
Reader = Callable[[Path], LoraWeights]


@typed(StackError)
def load_stack(
    stack: LoraStack,
    spec: ModelSpec,
    *,
    lora_folders: Sequence[str | Path] = (),
    mask_folders: Sequence[str | Path] = (),
    find_twins: bool = True,
    allow_partial: bool = False,
    read: Reader | None = None,
    download: bool = False,
) -> LoadedStack:
    """Find and read the files of every row that is on; weights in memory are taken as they are if they fit.

    Args:
        stack: the user's stack.
        spec: the model the files are read for.
        lora_folders: where its files lie, and nowhere else; without any, paths are taken as they are.
        mask_folders: where the masks of its regions may lie too.
        find_twins: False switches the search for twins off for all entries.
        allow_partial: let files in which some tensors match nothing through.
        read: what reads a file, `read_lora` by default; each file is read once.
        download: fetch repositories on Hugging Face that the local cache lacks.
    """
    from ..files.read import read_lora

    if read is not None and allow_partial:
        raise StackError("load_stack", "allow_partial beside a reader of one's own", remedy="Give it to the reader")
    read_once = cache(read or partial(read_lora, spec=spec, allow_partial=allow_partial))
    find = partial(with_found_files, lora_folders=lora_folders, mask_folders=mask_folders, download=download)
    rows, loras = [find(entry) for entry in stack], []
    taken = files_named(rows)
    for index, entry in enumerate(rows):
        if entry.enabled:
            verify_hashes([entry])
            if find_twins and come_in_pairs(spec):
                entry = with_twin(entry, lora_folders, _expert_of(entry, read_once), taken)
            lora = _load(index, entry, read_once)
            for given in (entry.weights, entry.low_noise_weights):
                if given is not None:
                    _check_fit(given, spec)
            rows[index] = lora.entry
            loras.append(lora)
    return LoadedStack(LoraStack(tuple(rows)), tuple(loras), spec)


def _expert_of(entry: LoraEntry, read: Reader) -> Callable[[], str | None]:
    return lambda: None if entry.path is None else read(entry.path).expert


def _load(index: int, entry: LoraEntry, read: Reader) -> LoadedLora:
    first = _weights(entry.path, entry.weights, read)
    assert first is not None, "an entry has a file or weights"
    second = _weights(entry.low_noise_path, entry.low_noise_weights, read)
    return LoadedLora(index, entry, first, second, None if second else twin_left_out(entry))


def _weights(path: Path | None, given: LoraWeights | None, read: Reader) -> LoraWeights | None:
    return read(path) if given is None and path is not None else given


def _check_fit(weights: LoraWeights, spec: ModelSpec) -> None:
    """Refuse weights in memory that were made, or read, for a model of other targets or shapes."""
    outlines = {**outlines_of(weights.deltas), **outlines_of(weights.low_noise_deltas or {})}
    misfits = []
    for target, delta in outlines.items():
        shape = spec.shapes.get(target)
        if shape is None and spec.why_absent(target) is None:
            misfits.append(f"{target} is not in it")
        elif shape not in (None, UNKNOWN_SHAPE) and not fits(delta.shape, shape):
            misfits.append(f"{target} is {shape_text(delta.shape)} instead of {shape_text(shape)}")
    if not misfits and any(target in spec.shapes for target in outlines):
        return
    raise LoraMismatchError(
        weights.path or weights.name,
        said(
            "does not fit {spec}: {misfits}",
            spec=spec.title,
            misfits=first_few(misfits, between="; ") or "none of its targets is in it",
        ),
        expected=said("a LoRA for {spec}", spec=spec.name)
        if weights.base is None
        else said("it looks like one for {base}", base=weights.base),
        remedy="Choose a LoRA made for this model",
    )
