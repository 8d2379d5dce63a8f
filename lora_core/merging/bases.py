"""The base's weights, which the changes of DoRA and its relatives depend on, read from checkpoints one at a time."""

from __future__ import annotations

from collections.abc import Callable

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
    bases: dict[Expert, OpenedBase] = {}

    def read(expert: Expert, target: str) -> Tensor:
        if expert not in bases:
            piece = "low" if expert == "low_noise" and opened.spec.num_experts == 2 else "high"
            bases[expert] = open_base(opened.files[piece])
        base = bases[expert]
        if target not in base.names:
            what = said("has no parameter {target}", target=target)
            raise ModelError(base.path, what, remedy="Give the model that the LoRA was made for")
        return base.weight(target)

    return read
