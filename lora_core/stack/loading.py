"""The loading of a stack: its files found, verified and read for a model, with the twins of high-noise files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from ..checks import first_few, shape_text
from ..deltas import fits
from ..errors import LoraMismatchError, StackError
from ..experts import EXPERTS, Expert
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..files.read import read_lora
from ..files.weights import LoraWeights, outlines_of
from .entry import AppliesTo, LoraEntry
from .finding import verify_hashes, with_found_files, with_twin
from .schedule import StrengthSchedule
from .stack import LoraStack

#: Reads one file; a host that keeps what it has read brings its own.
Reader = Callable[[Path], LoraWeights]


@dataclass(frozen=True)
class LoadedLora:
    """One row of a stack that is switched on, with what its files hold.

    Attributes:
        index: the row's place in the stack.
        entry: the row, its files found, its twin's included.
        weights: what its file holds, the high-noise one of a pair.
        low_noise_weights: what the pair's other file holds.
    """

    index: int
    entry: LoraEntry
    weights: LoraWeights
    low_noise_weights: LoraWeights | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def files(self) -> tuple[LoraWeights, ...]:
        """What was read: one file, or two."""
        return tuple(weights for weights in (self.weights, self.low_noise_weights) if weights is not None)

    @property
    def trigger_words(self) -> tuple[str, ...]:
        """The words its metadata asks to put into the prompt."""
        return tuple(dict.fromkeys(word for weights in self.files for word in weights.trigger_words))

    def halves(self) -> dict[Expert, LoraWeights]:
        """Return which weights act on which of two experts."""
        weights, second, applies_to = self.weights, self.low_noise_weights, self.entry.applies_to
        experts: tuple[Expert, ...]
        if applies_to != "auto":
            experts = EXPERTS if applies_to == "both" else (applies_to,)
        elif second is not None or weights.expert in (None, "both"):
            experts = EXPERTS
        else:
            experts = (weights.expert,)  # type: ignore[assignment]  # neither None nor "both"
        return {expert: second if second is not None and expert == "low_noise" else weights for expert in experts}

    def rerouted(self, applies_to: AppliesTo, schedule: StrengthSchedule | None) -> LoadedLora:
        """Return the LoRA on another expert or schedule; of a pair that was found, only the half wanted stays."""
        entry = replace(self.entry, schedule=schedule)
        if not entry.found_twin or applies_to in ("both", "auto"):
            return replace(self, entry=replace(entry, applies_to=applies_to))
        weights = self.low_noise_weights if applies_to == "low_noise" else self.weights
        assert weights is not None, "a twin that was found has been read"
        path = entry.low_noise_path if applies_to == "low_noise" else entry.path
        half = replace(entry, path=path, applies_to=applies_to, low_noise_path=None, found_twin=False)
        return LoadedLora(self.index, half, weights)


@dataclass(frozen=True)
class LoadedStack:
    """A stack whose files have been read for one model.

    Attributes:
        stack: all rows, also those that are off, with the files that were found for them.
        loras: the rows that are on, in their order.
        spec: the model.
    """

    stack: LoraStack
    loras: tuple[LoadedLora, ...]
    spec: ModelSpec

    def find(self, name: str) -> LoadedLora | None:
        """Return a LoRA by its name, None for one that is off; a name that is not in the stack is refused."""
        entry = self.stack[name]
        return next((lora for lora in self.loras if lora.entry is entry), None)

    def require(self, spec: ModelSpec) -> None:
        """Raise unless the stack was loaded for this model, or for one of the same parameters."""
        if self.spec is not spec and self.spec.shapes != spec.shapes:
            what = f"its files were read for {self.spec.title}, not for {spec.title}"
            raise StackError("stack", what, remedy="Load it for this model")

    def rerouted(self, name: str, applies_to: AppliesTo, schedule: StrengthSchedule | None) -> LoadedStack:
        """Put one LoRA on another expert or schedule."""
        lora = self.find(name)
        if lora is None:
            off = replace(self.stack[name], applies_to=applies_to, schedule=schedule)
            return LoadedStack(self.stack.replace(name, off), self.loras, self.spec)
        changed = lora.rerouted(applies_to, schedule)
        loras = tuple(changed if other is lora else other for other in self.loras)
        return LoadedStack(self.stack.replace(name, changed.entry), loras, self.spec)

    def with_settings(self, stack: LoraStack) -> LoadedStack:
        """Return the same LoRAs with the strengths, schedules and filters that the rows of `stack` give them."""
        assert [entry.name for entry in stack] == [entry.name for entry in self.stack]
        loras = tuple(replace(lora, entry=stack.entries[lora.index]) for lora in self.loras)
        return LoadedStack(stack, loras, self.spec)

    def joined(self, other: LoadedStack) -> LoadedStack:
        """Return one stack of both; a LoRA of the other whose name is taken gets a number."""
        other.require(self.spec)
        stack, offset = self.stack.joined(other.stack), len(self.stack)
        moved = (
            replace(lora, index=offset + lora.index, entry=stack.entries[offset + lora.index]) for lora in other.loras
        )
        return LoadedStack(stack, (*self.loras, *moved), self.spec)

    def updated(self, other: LoadedStack) -> LoadedStack:
        """Return one stack of both; a LoRA of the other takes the place of the one that has its name."""
        other.require(self.spec)
        stack = self.stack
        for entry in other.stack:
            taken = any(entry.name == row.name for row in stack)
            stack = stack.replace(entry.name, entry) if taken else stack.add(entry)
        loras = {lora.name: lora for lora in (*self.loras, *other.loras)}
        places = {row.name: index for index, row in enumerate(stack)}
        ordered = sorted(loras.values(), key=lambda lora: places[lora.name])
        return LoadedStack(stack, tuple(replace(lora, index=places[lora.name]) for lora in ordered), self.spec)

    def without(self, *names: str) -> LoadedStack:
        """Leave LoRAs out, by name."""
        stack = self.stack
        for name in names:
            stack = stack.without(name)
        places = {entry.name: index for index, entry in enumerate(stack)}
        kept = tuple(replace(lora, index=places[lora.name]) for lora in self.loras if lora.name in places)
        return LoadedStack(stack, kept, self.spec)


def load_stack(
    stack: LoraStack,
    spec: ModelSpec,
    *,
    lora_folders: Sequence[str | Path] = (),
    find_twins: bool = True,
    allow_partial: bool = False,
    read: Reader | None = None,
) -> LoadedStack:
    """Find and read the files of every row that is on; weights in memory are taken as they are if they fit.

    Args:
        stack: the user's stack.
        spec: the model the files are read for.
        lora_folders: where its files lie, and nowhere else; without any, paths are taken as they are.
        find_twins: False switches the search for twins off for all entries.
        allow_partial: let files in which some tensors match nothing through.
        read: what reads a file, `read_lora` by default; each file is read once.
    """
    read_once = cache(read or partial(read_lora, spec=spec, allow_partial=allow_partial))
    rows, loras = list(stack), []
    for index, entry in enumerate(stack):
        if entry.enabled:
            lora = _load(index, entry, lora_folders, read_once, find_twins=find_twins)
            for given in (entry.weights, entry.low_noise_weights):
                if given is not None:
                    _check_fit(given, spec)
            rows[index] = lora.entry
            loras.append(lora)
    return LoadedStack(LoraStack(tuple(rows)), tuple(loras), spec)


def _load(
    index: int, entry: LoraEntry, lora_folders: Sequence[str | Path], read: Reader, *, find_twins: bool
) -> LoadedLora:
    entry = with_found_files(entry, lora_folders)
    verify_hashes([entry])
    weights = entry.weights
    if weights is None:
        assert entry.path is not None, "an entry has a file or weights"
        weights = read(entry.path)
    if find_twins:
        entry = with_twin(entry, lora_folders, lambda: weights.expert)
    second = entry.low_noise_weights
    if second is None and entry.low_noise_path is not None:
        second = read(entry.low_noise_path)
    return LoadedLora(index, entry, weights, second)


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
        f"does not fit {spec.title}: {first_few(misfits, between='; ') or 'none of its targets is in it'}",
        expected=f"a LoRA for {spec.name}" if weights.base is None else f"it looks like one for {weights.base}",
        remedy="Choose a LoRA made for this model",
    )
