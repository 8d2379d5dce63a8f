"""Muon for matrices and AdamW for everything else, as one optimiser: what a network of all kinds of weights needs.

With `match_rms_adamw` a step of Muon is as long as one of AdamW, so that one learning rate is right for both
(arXiv 2502.16982, section 2.2). Both are torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class MuonAndAdamW(Optimizer):
    """Two optimisers that share their groups and their state, so that what is kept of one is kept of both."""

    def __init__(self, weights: Sequence[nn.Parameter], lr: float, weight_decay: float) -> None:
        matrices = [weight for weight in weights if weight.ndim == 2]
        others = [weight for weight in weights if weight.ndim != 2]
        self._parts: list[Optimizer] = []
        if matrices:
            self._parts.append(
                torch.optim.Muon(matrices, lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            )
        if others:
            self._parts.append(torch.optim.AdamW(others, lr, betas=(0.9, 0.99), weight_decay=weight_decay))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        """Move every weight by the optimiser that it belongs to."""
        loss = None if closure is None else closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state; torch puts new groups in the place of the old ones, which the parts then work with."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self._parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state
