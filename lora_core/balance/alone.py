"""The reading of a stack for no model in particular: what its files say of each other needs none."""

from __future__ import annotations

from dataclasses import replace

from ..errors import LoraMismatchError, StackError
from ..families.registry import family_of_targets
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack

#: What to say in a model's place.
NO_MODEL = "none"


def load_alone(stack: LoraStack, *, allow_partial: bool = False) -> LoadedStack:
    """Read a stack by the names of the family that its first LoRA is for, of any size.

    Where no file and no row tells one expert from the other, all of it counts as for one network.

    Raises:
        LoraMismatchError: no family has the names of the first LoRA.
    """
    from ..files.read import read_lora

    first = next((entry for entry in stack if entry.enabled), None)
    if first is None:
        raise StackError("stack", "no LoRA of it is on", expected="one LoRA or more", remedy="Add one, or turn one on")
    weights = first.weights
    if weights is None:
        assert first.path is not None, "an entry has a file or weights"
        weights = read_lora(first.path, allow_partial=allow_partial)
    family = family_of_targets(weights.deltas)
    if family is None:
        what = "its names are those of no known family"
        raise LoraMismatchError(first.name, what, remedy="Give the model that it is for")
    loaded = load_stack(stack, family.grammar(), allow_partial=allow_partial)
    tells = any(
        lora.expert is not None or len(lora.files) > 1 or lora.entry.applies_to in ("high_noise", "low_noise")
        for lora in loaded.loras
    )
    return loaded if tells else LoadedStack(loaded.stack, loaded.loras, replace(loaded.spec, boundary=None))
