"""A checkpoint of whole weights whose parameters are known by targets, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..checkpoints.parameters import Parameters, open_parameters
from ..errors import ModelError
from ..families.base import ModelSpec, target_of
from ..families.registry import FAMILIES
from .dialects import locate, split_leaf


@dataclass(frozen=True, eq=False)
class OpenedBase:
    """A checkpoint by targets.

    Attributes:
        names: target -> its tensor's name.
    """

    path: Path
    parameters: Parameters
    names: Mapping[str, str]

    def shape(self, target: str) -> tuple[int, ...] | None:
        """Return the shape of a target, None where the checkpoint has none."""
        return self.parameters.checkpoint.shapes[self.names[target]] if target in self.names else None

    def weight(self, target: str) -> Tensor:
        """Read a parameter, in float32."""
        return self.parameters[self.names[target]]


def open_base(path: Path) -> OpenedBase:
    """Open a checkpoint, of which headers alone are read; a LoRA file is refused."""
    parameters = open_parameters(path)
    names = list(parameters)
    of_lora = [name for name in names if (found := split_leaf(name)[1]) is not None and found.kind != "scale"]
    if of_lora:
        what = f"is a LoRA file, with tensors such as {of_lora[0]!r}"
        raise ModelError(path, what, expected="a checkpoint with whole weights", remedy="Give the model's file")
    family = next((family for family in FAMILIES if family.recognises(names)), None)
    grammar = None if family is None else family.grammar()
    return OpenedBase(path, parameters, {_target(name, grammar): name for name in names})


def _target(name: str, grammar: ModelSpec | None) -> str:
    """Return the target of a tensor, under any prefix and in any spelling that its family knows."""
    if grammar is None:
        return target_of(name)
    path, _, leaf = name.rpartition(".")
    if leaf in ("weight", "bias") and (found := locate(path, grammar).path) is not None:
        return f"{found}.bias" if leaf == "bias" else found
    return locate(name, grammar).path or target_of(name)
