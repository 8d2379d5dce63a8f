"""The values of tensors as a file gives them: whether they are finite, and whether they are zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..deltas import Delta, Stacked
from ..errors import LoraFileError
from ..wording import said


def checked(read: Callable[[str], Tensor], path: Path) -> Callable[[str], Tensor]:
    """Return `read` with a look at every value: one that is not finite is an error that names the tensor."""

    def read_finite(name: str) -> Tensor:
        tensor = read(name)
        num_bad = num_not_finite(tensor)
        if num_bad:
            what = said(
                "tensor {name!r} has {num_bad:,} of {all:,} values that are NaN or infinite",
                name=name,
                num_bad=num_bad,
                all=tensor.numel(),
            )
            remedy = "Its training diverged or the file is damaged; use an earlier checkpoint"
            raise LoraFileError(path, what, expected="finite numbers", remedy=remedy)
        return tensor

    return read_finite


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
    if isinstance(delta, Stacked):
        return all(changes_nothing(row) for row, _ in delta.rows if row is not None)
    return not delta.needs_base and any(is_zero(tensor) for tensor in delta.tensors())


def _any(tensor: Tensor) -> bool:
    return bool((tensor.float() if tensor.dtype.itemsize == 1 else tensor).any())
