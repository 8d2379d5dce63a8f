"""A stack whose files have been read: what routing takes, and what changes without reading anything again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import StackError
from ..experts import EXPERTS, Expert
from ..experts.words import expert_in_name
from ..families.base import ModelSpec
from ..files.weights import LoraWeights
from ..wording import said
from .entry import AppliesTo, LoraEntry
from .schedule import StrengthSchedule
from .stack import LoraStack


@dataclass(frozen=True)
class LoadedLora:
    """One row of a stack that is switched on, with what its files hold.

    Attributes:
        index: the row's place in the stack.
        entry: the row, its files found, its twin's included.
        weights: what its file holds, the high-noise one of a pair.
        low_noise_weights: what the pair's other file holds.
        twin_left_out: the other expert's file that lies beside its own and does not act by this row.
    """

    index: int
    entry: LoraEntry
    weights: LoraWeights
    low_noise_weights: LoraWeights | None = None
    twin_left_out: Path | None = None

    @property
    def expert(self) -> Expert | Literal["both"] | None:
        """The expert its first file is for: what the file says, else what the row's own name tells."""
        return self.weights.expert or expert_in_name(self.name)

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
        second, applies_to = self.low_noise_weights, self.entry.applies_to
        experts: tuple[Expert, ...]
        if applies_to != "auto":
            experts = EXPERTS if applies_to == "both" else (applies_to,)
        elif second is not None or self.expert in (None, "both"):
            experts = EXPERTS
        else:
            experts = (self.expert,)  # type: ignore[assignment]  # neither None nor "both"
        return {expert: second if second is not None and expert == "low_noise" else self.weights for expert in experts}

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

    def without_twin(self) -> LoadedLora:
        """Return the LoRA without the twin that was found for it."""
        entry = replace(self.entry, low_noise_path=None, found_twin=False)
        return LoadedLora(self.index, entry, self.weights, twin_left_out=self.entry.low_noise_path)


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

    def __post_init__(self) -> None:
        on = [(index, entry) for index, entry in enumerate(self.stack) if entry.enabled]
        assert [(lora.index, lora.entry) for lora in self.loras] == on, "a row that is on has been read"

    def find(self, name: str) -> LoadedLora | None:
        """Return a LoRA by its name, None for one that is off; a name that is not in the stack is refused."""
        entry = self.stack[name]
        return next((lora for lora in self.loras if lora.entry is entry), None)

    def require(self, spec: ModelSpec) -> None:
        """Raise unless the stack was loaded for this model, or for one of the same parameters."""
        if self.spec is not spec and self.spec.shapes != spec.shapes:
            what = said("its files were read for {other}, not for {spec}", other=self.spec.title, spec=spec.title)
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
        return LoadedStack(stack, (*self.loras, *moved), self.spec)._with_each_file_once()

    def updated(self, other: LoadedStack) -> LoadedStack:
        """Return one stack of both; a LoRA of the other takes the place of the one that has its name."""
        other.require(self.spec)
        stack = self.stack
        for entry in other.stack:
            taken = any(entry.name == row.name for row in stack)
            stack = stack.replace(entry.name, entry) if taken else stack.add(entry)
        replaced = {entry.name for entry in other.stack}
        kept = (lora for lora in self.loras if lora.name not in replaced)
        loras = {lora.name: lora for lora in (*kept, *other.loras)}
        places = {row.name: index for index, row in enumerate(stack)}
        ordered = sorted(loras.values(), key=lambda lora: places[lora.name])
        moved = tuple(replace(lora, index=places[lora.name]) for lora in ordered)
        return LoadedStack(stack, moved, self.spec)._with_each_file_once()

    def without(self, *names: str) -> LoadedStack:
        """Leave LoRAs out, by name."""
        stack = self.stack
        for name in names:
            stack = stack.without(name)
        places = {entry.name: index for index, entry in enumerate(stack)}
        kept = tuple(replace(lora, index=places[lora.name]) for lora in self.loras if lora.name in places)
        return LoadedStack(stack, kept, self.spec)

    def _with_each_file_once(self) -> LoadedStack:
        """Return the stack with no twin that has a row of its own."""
        named = {path for row in self.stack for path in (row.path, None if row.found_twin else row.low_noise_path)}
        stack, loras = self.stack, []
        for lora in self.loras:
            if lora.entry.found_twin and lora.entry.low_noise_path in named:
                lora = lora.without_twin()
                stack = stack.replace(lora.name, lora.entry)
            loras.append(lora)
        return LoadedStack(stack, tuple(loras), self.spec)
