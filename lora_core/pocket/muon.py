"""Muon for convolution kernels: momentum whose update is made nearly orthogonal before it is applied.

On the pocket VAE it left the flat start of the training several times sooner than Adam did, whatever Adam's rate.
`torch.optim.Muon` takes matrices only. Formula: Jordan et al. 2024, "Muon", with their five Newton-Schulz steps.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class ConvMuon(torch.optim.Optimizer):
    """Step kernels (out, in, ...) as matrices of shape (out, everything else)."""

    def __init__(self, kernels: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """Apply one update from the gradients."""
        for group in self.param_groups:
            for kernel in (kernel for kernel in group["params"] if kernel.grad is not None):
                average = self.state[kernel].setdefault("average", torch.zeros_like(kernel))
                average.mul_(group["momentum"]).add_(kernel.grad)
                update = orthogonalise((kernel.grad + group["momentum"] * average).flatten(1))
                rate = group["lr"] * max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                kernel.add_(update.view_as(kernel), alpha=-rate)


def orthogonalise(matrix: Tensor) -> Tensor:
    """Push all singular values of a (rows, columns) matrix towards 1."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalise(matrix.T).T
    a, b, c = NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x
