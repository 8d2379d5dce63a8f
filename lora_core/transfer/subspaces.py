"""How alike two weights of one shape are: the angles between the directions that matter most in each.

Letters: O outputs, I inputs, K the leading directions that are compared. With U_1, U_2 (O, K) the leading left singular
vectors of both, the cosines of the principal angles are the singular values of U_1' U_2 (Bjorck and Golub 1973, doi
10.1090/S0025-5718-1973-0348991-3); alike is the mean of their squares, 1 for one subspace and K / O by chance.
Dtype policy: float32.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..files.singular import first_singular


@dataclass(frozen=True, eq=False)
class Subspaces:
    """The leading directions of one weight.

    Attributes:
        left: (O, K), of its outputs.
        right: (I, K), of its inputs.
    """

    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, weight: Tensor, num_directions: int) -> Subspaces:
        """Decompose a weight (O, I), or (O, I, *kernel) as a matrix."""
        matrix = weight.flatten(1)
        left, _, right = first_singular(matrix, min(num_directions, *matrix.shape))
        return cls(left, right.T)


def alike(first: Tensor, second: Tensor) -> float:
    """Return the mean squared cosine of the principal angles of two orthonormal bases (N, K)."""
    return float((first.T @ second).square().sum() / first.shape[1])


def carried(vectors: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Carry vectors (N, R) from one base to the other: P_t P_s + (1 - P_t)(1 - P_s), P the projection on a basis.

    What lies in the source's leading directions comes into the target's, the rest into the rest; the same basis gives
    the same vectors.
    """
    leading = source @ (source.T @ vectors)
    rest = vectors - leading
    return target @ (target.T @ leading) + rest - target @ (target.T @ rest)
