"""What one cell of a grid is made of, and the changes of a row of its stack on one expert or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..engine.request import GenerationRequest
from ..errors import StackError
from ..experts import EXPERTS
from ..stack.entry import LoraEntry
from ..stack.loaded import LoadedStack
from ..stack.stack import LoraStack
from ..wording import said

#: Which expert's half of a row an axis changes.
Side = Literal["both", "high_noise", "low_noise"]
#: Reads the files of a stack for the model of the grid.
Load = Callable[[LoraStack], LoadedStack]


@dataclass(frozen=True, eq=False)
class Subject:
    """A request and a stack, as they are changed axis by axis."""

    request: GenerationRequest
    stack: LoraStack

    def with_row(self, name: str, side: Side, change: Callable[[LoraEntry], LoraEntry], load: Load) -> Subject:
        """Return the subject with a row changed, on one expert alone where `side` says so.

        A row that acts on both is then taken apart into one for each, of which the second has the name with the expert
        behind it.

        Raises:
            StackError: there is no such row, or it does not act on that expert.
        """
        stack, halves = self.stack, _halves_of(self.stack, name)
        if side != "both" and len(halves) == 1:
            stack = _taken_apart(stack, name, side, load)
            halves = _halves_of(stack, name)
        for entry in halves:
            if side in ("both", entry.applies_to) or len(halves) == 1:
                stack = stack.replace(entry.name, change(entry))
        return replace(self, stack=stack)

    def with_strength(self, name: str, side: Side, strength: float, load: Load) -> Subject:
        """Return the subject with another strength of a row, on one expert or tied on both."""
        if side == "both" or len(_halves_of(self.stack, name)) > 1:
            return self.with_row(name, side, lambda row: replace(row, strength=strength, low_noise_strength=None), load)
        entry = self.stack[name]
        if side not in _acts_on(self.stack, name, load):
            raise _acts_elsewhere(name, side)
        if side == "low_noise":
            changed = replace(entry, low_noise_strength=strength)
        else:
            low = None if entry.applies_to == "high_noise" else entry.strength_on("low_noise")
            changed = replace(entry, strength=strength, low_noise_strength=low)
        return replace(self, stack=self.stack.replace(name, changed))


def _halves_of(stack: LoraStack, name: str) -> list[LoraEntry]:
    """Return a row, and the one that holds its low-noise half where it has been taken apart."""
    second = _name_of_half(name)
    return [stack[name], *(entry for entry in stack if entry.name == second)]


def _name_of_half(name: str) -> str:
    return f"{name} low_noise"


def _acts_on(stack: LoraStack, name: str, load: Load) -> list[str]:
    """Return the experts that a row acts on; all that it could, where it is off."""
    lora = load(LoraStack((replace(stack[name], enabled=True),))).loras[0]
    return [expert for expert in EXPERTS if expert in lora.halves()]


def _taken_apart(stack: LoraStack, name: str, side: Side, load: Load) -> LoraStack:
    """Return the stack with a row for each expert that a row acts on, which together do what it did."""
    entry = stack[name]
    acts_on = _acts_on(stack, name, load)
    if side not in acts_on:
        raise _acts_elsewhere(name, side)
    if len(acts_on) == 1:
        return stack
    alone = replace(
        entry, applies_to="both", low_noise_path=None, low_noise_strength=None, low_noise_sha256=None, found_twin=False
    )
    high = replace(alone, applies_to="high_noise")
    has_second = entry.low_noise_path is not None
    low = replace(
        alone,
        name=_name_of_half(name),
        path=entry.low_noise_path or entry.path,
        applies_to="low_noise",
        strength=entry.strength_on("low_noise"),
        sha256=entry.low_noise_sha256 if has_second else entry.sha256,
    )
    return stack.replace(name, high, low)


def _acts_elsewhere(name: str, side: Side) -> StackError:
    return StackError(
        f"LoRA {name!r}",
        said("it does not act on the expert {side}", side=side),
        expected="an expert that it acts on",
        remedy="Leave the expert out, or choose another LoRA",
    )
