"""The base's weights, which the changes of DoRA and its relatives depend on, read from checkpoints one at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ..errors import ModelError
from ..experts import Expert
from ..families.registry import opener
from ..files.by_target import OpenedBase, open_base
from ..wording import said

#: (expert, target) -> the weight, in float32.
ReadBaseOf = Callable[[Expert, str], Tensor]


def base_of_model(model: str) -> ReadBaseOf:
    """Return what reads the weights of a model: an embedded one, a folder, or the file of its high-noise expert."""
    opened = opener(model)(model)
    return base_of_files(opened.files["high"], opened.files["low"] if opened.spec.num_experts == 2 else None)


def base_of_files(high: Path, low: Path | None = None) -> ReadBaseOf:
    """Return what reads the weights of two experts, or of the single one of a model; each is opened when asked for."""
    bases: dict[Path, OpenedBase] = {}

    def read(expert: Expert, target: str) -> Tensor:
        path = low if expert == "low_noise" and low is not None else high
        if path not in bases:
            bases[path] = open_base(path)
        if target not in bases[path].names:
            what = said("has no parameter {target}", target=target)
            raise ModelError(path, what, remedy="Give the model that the LoRA was made for")
        return bases[path].weight(target)

    return read
