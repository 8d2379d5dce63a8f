"""A change of some rows of a parameter: what one of the modules gets that a network keeps together in one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .additive import Delta


@dataclass(frozen=True, eq=False)
class Placed(Delta):
    """A delta of some rows of a parameter, as a delta of the whole parameter.

    Attributes:
        inner: the change of these rows; what it needs of the base is the base's same rows, in its own order.
        whole: the shape of the parameter.
        first: the first of the rows, which lie together.
        order: the row of `inner` that each of them takes; () where they come in its own order.
    """

    inner: Delta
    whole: tuple[int, ...]
    first: int
    order: tuple[int, ...] = ()

    @property
    def kind(self) -> str:  # type: ignore[override]  # that of what it places
        return self.inner.kind

    @property
    def needs_base(self) -> bool:  # type: ignore[override]  # that of what it places
        return self.inner.needs_base

    @property
    def shape(self) -> tuple[int, ...]:
        return self.whole

    @property
    def rank(self) -> int:
        return self.inner.rank

    @property
    def scale(self) -> float:
        return self.inner.scale

    @property
    def rows(self) -> slice | Tensor:
        """The row of the parameter for each row of `inner`, to index with."""
        if not self.order:
            return slice(self.first, self.first + self.inner.shape[0])
        return self.first + torch.tensor(self.order).argsort()

    def tensors(self) -> tuple[Tensor, ...]:
        return self.inner.tensors()

    def spread(self, part: Tensor, fill: float = 0.0) -> Tensor:
        """Return values for all rows of the parameter: `part` for these, in the order of `inner`, `fill` for others."""
        spread = part.new_full((self.whole[0], *part.shape[1:]), fill)
        spread[self.rows] = part
        return spread

    def dense(self, base: Tensor | None = None) -> Tensor:
        own = None if base is None else base.reshape(self.whole)[self.rows]
        return self.spread(self.inner.dense(own))

    def norm(self, base: Tensor | None = None) -> float:
        return self.inner.norm(None if base is None else base.reshape(self.whole)[self.rows])

    def to(self, device: torch.device | torch.dtype | str) -> Placed:
        return replace(self, inner=self.inner.to(device))
