"""Length extension: flow matching at a longer length with radial attention, and at the known one, on the same clips.

The recipe of arXiv 2506.19852 (section 5.1 and appendix B): low-rank changes of the attention, the flow loss alone, the
first blocks dense. The known length is trained beside it, on the beginning of the same latents, noise and level, which
a causal VAE makes the clip's own. `consistency` is no part of that recipe: it holds the beginning of the long
prediction to what the network without its LoRA says of the beginning alone; since a network sees what comes behind,
the two differ in truth by some percent, and the weight has to be small.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...attention.controller import make_controller
from ...attention.settings import RadialSettings
from ...families.base import ModelSpec
from ...families.opened import OpenedModel
from ..batches import Batch
from ..config import TrainConfig
from ..lengths import Lengths, beginning, lengths_of, radial_of
from .flow import flow
from .objective import Call


@dataclass(frozen=True)
class ExtendLength:
    """The objective.

    Attributes:
        radial: how the longer length is attended to.
        base_weight, consistency: as in `LengthSettings`.
    """

    spec: ModelSpec
    lengths: Lengths
    radial: RadialSettings
    base_weight: float
    consistency: float

    def __call__(self, call: Call, batch: Batch) -> Iterator[Tensor]:
        """Yield the loss at the batch's length, then that at the known one."""
        known = beginning(batch, self.lengths.base)
        taught = self._taught(call, known) if self.consistency else None
        with self._radial(call.network, batch):
            yield self._at_length(call, batch, taught)  # in the block: a checkpointed backward runs the network again
        if self.base_weight:
            for loss in flow(call, known):
                yield self.base_weight * loss

    def _at_length(self, call: Call, batch: Batch, taught: Tensor | None) -> Tensor:
        """Return the flow loss, with the distance to what was taught of the beginning."""
        velocity, given = call(batch.noisy, batch.level, batch.condition), batch.condition.num_known
        loss = (velocity - batch.velocity)[:, :, given:].square().mean()
        if taught is None:
            return loss
        distance = (velocity[:, :, : self.lengths.base] - taught)[:, :, given:].square().mean()
        return loss + self.consistency * distance

    @torch.no_grad()
    def _taught(self, call: Call, known: Batch) -> Tensor:
        """Return what the network without its LoRA says of the known length alone."""
        with _without_adapter(call.network):
            return call(known.noisy, known.level, known.condition)

    @contextmanager
    def _radial(self, network: nn.Module, batch: Batch) -> Iterator[None]:
        """Let self-attention be radial for sequences of the batch's length, and dense for others."""
        controller = make_controller(self.spec, batch.latents.shape, 1, self.radial)
        controller.at_step(0)
        with controller.on(_bare(network)):
            yield


def make_extend_length(config: TrainConfig, model: OpenedModel) -> ExtendLength:
    """Return the objective that a configuration asks for."""
    settings, lengths = config.length, lengths_of(config, model.spec)
    return ExtendLength(model.spec, lengths, radial_of(config), settings.base_weight, settings.consistency)


def _bare(network: nn.Module) -> nn.Module:
    """Return the network that a wrapper for many processes holds."""
    inner = getattr(network, "module", network)
    return inner if isinstance(inner, nn.Module) else network


@contextmanager
def _without_adapter(network: nn.Module) -> Iterator[None]:
    """Let a network compute as if nothing had been learnt."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [module for module in network.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
