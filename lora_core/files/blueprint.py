"""The blueprint of one delta: which tensors of a file make it, at what scale, in which shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..deltas import Delta
from ..errors import LoraFileError
from .containers.tensorfile import TensorInfo
from .kinds import KINDS, Shape, dora, is_by_input


@dataclass(frozen=True)
class Blueprint:
    """How one delta is built.

    Attributes:
        kind: a row of `KINDS`.
        fields: field of the delta's class -> name of the tensor.
        magnitude: name of a DoRA magnitude, or None.
        shape: the shape of the target where the model states it, else None.
    """

    target: str
    kind: str
    fields: Mapping[str, str]
    magnitude: str | None
    scale: float
    shape: Shape | None

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.fields.values(), *((self.magnitude,) if self.magnitude else ()))

    def build(self, read: Callable[[str], Tensor]) -> Delta:
        """Build the delta from what `read` returns for its tensors' names."""
        tensors = {field: read(name) for field, name in self.fields.items()}
        delta = KINDS[self.kind].build(tensors, self.scale, self.shape)
        if self.magnitude is None:
            return delta
        magnitude = read(self.magnitude)
        by_input = is_by_input(tuple(magnitude.shape), delta.shape, self.magnitude)
        return dora(delta, magnitude, by_input=by_input)

    def outline(self, infos: Mapping[str, TensorInfo]) -> Delta:
        """Build the delta without values, for its shape, rank and size."""
        return self.build(lambda name: torch.empty(infos[name].shape, dtype=infos[name].dtype, device="meta"))

    def build_checked(self, path: Path, read: Callable[[str], Tensor]) -> Delta:
        """Build the delta from values that have all been found finite."""

        def checked(name: str) -> Tensor:
            tensor = read(name)
            num_bad = num_not_finite(tensor)
            if num_bad:
                what = f"tensor {name!r} has {num_bad:,} of {tensor.numel():,} values that are NaN or infinite"
                remedy = "Its training diverged or the file is damaged; use an earlier checkpoint"
                raise LoraFileError(path, what, expected="finite numbers", remedy=remedy)
            return tensor

        return self.build(checked)


def num_not_finite(tensor: Tensor) -> int:
    """Count NaN and infinite values; one pass over the values when there are none."""
    if tensor.dtype.itemsize == 1:  # fp8 has no arithmetic of its own
        tensor = tensor.float()
    # A sum is finite only if every value is; it can also overflow, which is why the count decides. It is ten times
    # faster than isfinite, which writes a mask of its own.
    if math.isfinite(tensor.sum().item()):
        return 0
    return int((~torch.isfinite(tensor)).sum())


def is_zero(tensor: Tensor) -> bool:
    """Say whether every value is zero; the first few settle it for nearly every tensor."""
    flat = tensor.flatten()
    return not _any(flat[:64]) and not _any(flat)


def changes_nothing(delta: Delta) -> bool:
    """Say whether a delta without magnitude is zero because one of its factors is."""
    return not delta.needs_base and any(is_zero(tensor) for tensor in delta.tensors())


def _any(tensor: Tensor) -> bool:
    return bool((tensor.float() if tensor.dtype.itemsize == 1 else tensor).any())
