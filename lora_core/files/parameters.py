"""The parameters of a LoRA, counted: all of them, their share of the model's, and how many are in which modules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..errors import ModelError
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..families.registry import infer_spec
from ..wording import Said, said
from .agreement import module_names
from .assembly import Assembly
from .base_weights import base_shapes
from .parts import Parts


@dataclass(frozen=True)
class ParameterCounts:
    """How many numbers a LoRA has, each of them once: no moving average counts beside the weights themselves.

    Attributes:
        lora: in the LoRA.
        model: in the networks it acts on, without it; None where their size is not known.
        modules: path inside a block, or the whole path of what lies in none -> in the LoRA.
    """

    lora: int
    model: int | None
    modules: Mapping[str, int]

    @property
    def total(self) -> int | None:
        """Of the networks with the LoRA in them."""
        return None if self.model is None else self.model + self.lora

    @property
    def share(self) -> float | None:
        """Of the LoRA in the total, 0 to 1."""
        return None if self.total is None else self.lora / self.total

    def summary(self) -> Said:
        """Return the counts in one line, without the modules."""
        if self.total is None or self.share is None:
            return said("{lora} in the LoRA", lora=f"{self.lora:,}")
        numbers = {"lora": f"{self.lora:,}", "share": f"{100 * self.share:.3g}", "total": f"{self.total:,}"}
        return said("{lora} in the LoRA, {share} % of {total} with the model's own", **numbers)

    def to_dict(self) -> dict[str, object]:
        """Return the counts as plain values, for JSON."""
        modules = dict(self.modules)
        return {"lora": self.lora, "model": self.model, "total": self.total, "share": self.share, "modules": modules}


def count_parameters(assembly: Assembly, published: str | None = None) -> ParameterCounts:
    """Count the parameters of a LoRA and of the model it is for.

    Args:
        assembly: the LoRA's file, for a model or for any of its family.
        published: the name of the model that it fits, whose size counts where the assembly is for no model.
    """
    modules: Counter[str] = Counter()
    for target, count in parameters_of(assembly).items():
        modules[module_names([target], assembly.spec)[0]] += count
    num_networks = len({address.expert for address in assembly.parts})
    size = _size_of(assembly.spec)
    if size is None:
        size = _size_of(spec_inside(assembly) or _published(assembly, published))
    model = None if size is None else size * max(1, num_networks)
    return ParameterCounts(modules.total(), model, dict(modules))


def parameters_of(assembly: Assembly) -> dict[str, int]:
    """Return target -> how many numbers a LoRA has for it, those of both experts together."""
    counts: Counter[str] = Counter()
    for address, own in assembly.parts.items():
        counts[address.target] += _num_values(own, assembly)
    return dict(counts)


def spec_inside(assembly: Assembly) -> ModelSpec | None:
    """Return the spec of the base around a LoRA in a post-trained checkpoint; None where there is no such."""
    if not assembly.base:
        return None
    with suppress(ModelError):
        return infer_spec(base_shapes(assembly.file.infos, assembly.base), where=assembly.file.path)
    return None


def _published(assembly: Assembly, name: str | None) -> ModelSpec | None:
    family = assembly.family
    return family.spec(name) if family is not None and name in family.spec_names else None


def _size_of(spec: ModelSpec | None) -> int | None:
    if spec is None or UNKNOWN_SHAPE in spec.shapes.values():
        return None
    return sum(map(math.prod, spec.shapes.values()))


def _num_values(own: Parts, assembly: Assembly) -> int:
    """Return how many values a delta has; of fused ones each share has its part, the first also what is left over."""
    count = sum(math.prod(assembly.file.infos[name].shape) for name in own.carriers)
    if own.share is None:
        return count
    index, num_shares = own.share
    return count // num_shares + (count % num_shares if index == 0 else 0)
