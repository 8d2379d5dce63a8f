"""An objective: the losses of one batch, one after the other, each to be taken back through the network as it comes.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...families.condition import Condition


class Call(Protocol):
    """One evaluation of the network that learns."""

    @property
    def network(self) -> nn.Module:
        """The network, which several processes may have wrapped."""

    def __call__(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        """Return the velocity (B, C, F, H, W) in float32 at noisy latents x and levels (B,)."""


class Material(Protocol):
    """What an objective learns from in one go: a batch of clips, of a teacher's runs, …."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Material:
        """Return it where and as a network computes."""


class Objective(Protocol):
    """What is learnt from a batch."""

    def __call__(self, call: Call, batch: Any) -> Iterator[Tensor]:
        """Yield float32 losses, whose sum is the loss of the batch; no graph of one outlives it."""
