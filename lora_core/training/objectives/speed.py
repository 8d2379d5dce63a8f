"""Few-step distillation: the student's own Euler steps are pulled to the states of the teacher's guided run.

The student starts where the teacher was, and each of its steps is pulled to the teacher's state at the end of it, from
wherever its own steps before have led; so it learns to mend its own mistakes (compare arXiv 2403.12015, whose student,
too, is trained on its own way). Letters: B batch, S steps, C latent channels, F latent frames, H W latent height and
width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ...families.condition import Condition
from .objective import Call


@dataclass(frozen=True, eq=False)
class Trajectories:
    """A batch of the teacher's runs, as far as one expert walks them.

    Attributes:
        states: (S + 1, B, C, F, H, W) normalised latents at each level.
        levels: the S + 1 noise levels t, falling.
        condition: what the runs were told.
        captions: the same in words.
    """

    states: Tensor
    levels: tuple[float, ...]
    condition: Condition
    captions: tuple[str, ...] = ()

    def to(self, device: torch.device, dtype: torch.dtype) -> Trajectories:
        """Return the runs where and as a network computes; states stay float32."""
        return replace(self, states=self.states.to(device), condition=self.condition.to(device, dtype))


def speed(call: Call, batch: Trajectories) -> Iterator[Tensor]:
    """Yield the loss of each step: the mean square of how far it ends from the teacher, over the step's length."""
    x = batch.states[0]
    for (t, t_next), target in zip(pairwise(batch.levels), batch.states[1:], strict=True):
        velocity = call(x, x.new_full((len(x),), t), batch.condition)
        reached = batch.condition.keep_known(x + (t_next - t) * velocity)
        yield (reached - target).square().mean() / (t - t_next)
        x = reached.detach()
