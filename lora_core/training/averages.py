"""A running average of the weights that learn: steadier than the weights themselves, and what is then written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .shards import parted


class Averages:
    """avg <- keep avg + (1 - keep) weight after each step, keep = min(decay, (1 + n) / (10 + n)) in step n.

    The rising decay is the one of diffusers' and timm's averages: the first, bad weights are soon forgotten.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self.num_updates = 0
        self.values = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they are into the average."""
        keep = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        weights = [weight.detach() for weight in self._weights.values()]
        torch._foreach_lerp_(list(self.values.values()), weights, 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the weights be the averages inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange what is in the tensors; others than those it was given a network shared out would not see."""
        for name, weight in self._weights.items():
            kept = weight.detach().clone()
            weight.copy_(self.values[name])
            self.values[name].copy_(kept)

    def move(self, device: torch.device) -> None:
        """Take the averages to a device."""
        self.values = {name: value.to(device) for name, value in self.values.items()}

    def state(self) -> dict[str, object]:
        """Return what `load_state` takes."""
        return {"num_updates": self.num_updates, "values": dict(self.values)}

    def load_state(self, state: Mapping[str, object]) -> None:
        """Go on from a state."""
        values: Mapping[str, Tensor] = state["values"]  # type: ignore[assignment]  # our own checkpoint
        self.num_updates = int(state["num_updates"])  # type: ignore[call-overload]
        self.values = {name: parted(values[name], value) for name, value in self.values.items()}
