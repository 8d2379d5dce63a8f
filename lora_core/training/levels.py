"""Noise levels t: how they are distributed, and the part of them that an expert works at.

A level t runs from 0 (clip) to 1 (noise); the network is told 1000 t. Truncated to an expert's part, the distribution
keeps its shape there: it is the distribution of the draws that fall into the part, never the whole of it squeezed.
Dtype policy: drawn in float64, handed out in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..experts import Expert
from .settings.noise import Distribution


@dataclass(frozen=True)
class Levels:
    """A distribution of t, between two of its values.

    Attributes:
        distribution: of u, before the shift: uniform, or the logistic function of a normal variable.
        shift: t = shift u / (1 + (shift - 1) u) (arXiv 2403.03206, eq. 23).
        scale: the deviation of the normal variable.
        low, high: t lies in [low, high), in [low, 1] where high is 1.
    """

    distribution: Distribution
    shift: float
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def of(self, expert: Expert, boundary: float | None) -> Levels:
        """Return the part at which an expert works: the high-noise one where t >= boundary."""
        if boundary is None:
            return self
        return replace(self, low=boundary) if expert == "high_noise" else replace(self, high=boundary)

    def share(self) -> float:
        """Return the share of the whole distribution that lies between `low` and `high`."""
        return self._below(self.high) - self._below(self.low)

    def at(self, quantiles: Tensor) -> Tensor:
        """Return the t at quantiles (B,) in [0, 1) of the truncated distribution."""
        below, above = self._below(self.low), self._below(self.high)
        p = below + quantiles.double() * (above - below)
        u = p if self.distribution == "uniform" else torch.sigmoid(self.scale * torch.special.ndtri(p))
        t = (self.shift * u / (1 + (self.shift - 1) * u)).float()
        return t.clamp(_up(self.low), 1.0 if self.high == 1 else _down(self.high))

    def _below(self, t: float) -> float:
        """Return the share of the whole distribution below t."""
        if t in (0, 1):
            return float(t)
        u = t / (self.shift - (self.shift - 1) * t)
        if self.distribution == "uniform":
            return u
        return 0.5 * (1 + math.erf(math.log(u / (1 - u)) / self.scale / math.sqrt(2)))


def grid(num_steps: int, shift: float) -> tuple[float, ...]:
    """Return the N + 1 levels of a run of N steps, u evenly from 1 to 0."""
    return tuple(shift * n / (num_steps + (shift - 1) * n) for n in range(num_steps, -1, -1))


def _up(t: float) -> float:
    """Return the smallest float32 that is not below t."""
    nearest = torch.tensor(t, dtype=torch.float32)
    return (nearest if nearest.item() >= t else torch.nextafter(nearest, torch.tensor(2.0))).item()


def _down(t: float) -> float:
    """Return the largest float32 below t."""
    nearest = torch.tensor(t, dtype=torch.float32)
    return (nearest if nearest.item() < t else torch.nextafter(nearest, torch.tensor(-1.0))).item()
