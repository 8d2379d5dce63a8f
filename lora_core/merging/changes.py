"""The changes of one parameter that are to be one, each with its strength: as thin factors, or as a whole.

Letters: O outputs, I inputs, R rank. Dtype policy: float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ..deltas import Delta, Placed, thin_factors
from ..deltas.thin import Pair
from ..files.singular import MAX_EXACT, first_singular

#: Of a large change that is not thin so many ranks are found where nobody asks for a number of them.
_MAX_RANK = 128


@dataclass(frozen=True, eq=False)
class Change:
    """One LoRA's change of one parameter.

    Attributes:
        name: the LoRA's.
        factor: strength times the target filter's factor.
        base: the parameter, where the change depends on it.
    """

    name: str
    delta: Delta
    factor: float
    base: Tensor | None = None

    @classmethod
    def of(cls, name: str, delta: Delta, factor: float, base: Tensor | None) -> Change:
        """Return a change; one of some rows of a parameter as one of these rows, which its target stands for."""
        if isinstance(delta, Placed):
            own = None if base is None else base.reshape(delta.whole)[delta.rows]
            return cls(name, delta.inner, factor, own)
        return cls(name, delta, factor, base)

    def thin(self) -> Pair | None:
        """Return `down` and `up` of it at its strength; None for what is not thin."""
        pair = thin_factors(self.delta, self.base)
        return None if pair is None else (pair[0], pair[1] * self.factor)

    def whole(self) -> Tensor:
        """Return it at its strength, in the parameter's shape."""
        return self.delta.dense(self.base) * self.factor


def whole_of(changes: Sequence[Change]) -> Tensor:
    """Return the sum of changes, one at a time."""
    total = changes[0].whole()
    for change in changes[1:]:
        total += change.whole().reshape(total.shape)
    return total


def nearest_pair(whole: Tensor, rank: int | None) -> Pair:
    """Return the thin factors nearest to a change in full: of a rank, or of as many as can be found in good time."""
    matrix = whole.flatten(1)
    most = min(matrix.shape)
    limit = rank or (most if most <= MAX_EXACT else _MAX_RANK)
    left, values, right = first_singular(matrix, min(limit, most))
    half = values.sqrt()
    return half[:, None] * right, left * half


def widest_dtype(changes: Sequence[Change]) -> torch.dtype:
    """Return the dtype that holds the values of all changes; of 8-bit ones bfloat16."""
    dtypes = (tensor.dtype for change in changes for tensor in change.delta.tensors())
    return reduce(torch.promote_types, (dtype if dtype.itemsize > 1 else torch.bfloat16 for dtype in dtypes))
