"""The small core that all changes of one parameter have in common, in which they are compared and cut without a loss.

Letters: O outputs, I inputs, R the ranks of all changes together, K and J the ranks of their outputs and inputs.
With the changes' `up` beside each other = Q_O T and their `down` below each other = W^T Q_I, each of them is
Q_O C Q_I with C (K, J): norms and products of the C are those of the changes (Core Space, arXiv 2509.17786, section 3),
and no matrix as large as the weight is made.
Dtype policy: bases in float32, cores in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..deltas.thin import Pair


@dataclass(frozen=True, eq=False)
class Core:
    """Changes of one parameter in the bases of all of them.

    Attributes:
        left: (O, K), orthonormal columns.
        right: (J, I), orthonormal rows.
        parts: each change as (K, J).
    """

    left: Tensor
    right: Tensor
    parts: tuple[Tensor, ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Core:
        """Find the core of changes, each given as `down` (R, I) and `up` (O, R)."""
        left, tall = torch.linalg.qr(torch.cat([up for _, up in pairs], dim=1))
        right, wide = torch.linalg.qr(torch.cat([down for down, _ in pairs]).T)
        sizes = [down.shape[0] for down, _ in pairs]
        halves = zip(tall.double().split(sizes, dim=1), wide.double().split(sizes, dim=1), strict=True)
        return cls(left, right.T, tuple(t @ w.T for t, w in halves))

    @property
    def total(self) -> Tensor:
        """The sum of the changes, (K, J)."""
        return torch.stack(self.parts).sum(dim=0)

    def turned(self) -> Core:
        """Return the same changes in the singular bases of all, which do not depend on their order.

        The left basis is that of the changes beside each other, the right one that of the changes below each other.
        """
        left, right = (_principal(parts) for parts in (self.parts, [part.T for part in self.parts]))
        parts = tuple(left.T @ part @ right for part in self.parts)
        return Core(self.left @ left.float(), right.T.float() @ self.right, parts)


def _principal(parts: Sequence[Tensor]) -> Tensor:
    """Return the left singular vectors (K, K) of matrices that stand beside each other, the largest first."""
    _, vectors = torch.linalg.eigh(torch.stack([part @ part.T for part in parts]).sum(dim=0))
    return vectors.flip(1)
