"""The held-out loss of what a training has written: the same clips, noise and levels for all that are compared."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..apply.attachment import attach
from ..experts import Expert
from ..families.registry import family_of
from ..plan.routing import route
from ..training.assembly import NetworkCall, make_sources, text_tokens, turns_of
from ..training.clips.cached import ClipCache
from ..training.config import TrainConfig
from ..training.network.sharing import sharing_copy
from ..training.objectives.table import OBJECTIVES
from ..training.ranks import Alone
from .judged_model import JudgedModel

#: Of the noise, whatever the trainings' own seeds are.
_SEED = 0


@torch.no_grad()
def held_out_losses(judged: JudgedModel, config: TrainConfig, cache: ClipCache) -> dict[Expert, float]:
    """Return expert -> mean loss over the clips held out, at the levels that the configuration says."""
    model = judged.model
    turns = turns_of(config.learning, model.spec)
    same_noise = replace(config, learning=replace(config.learning, seed=_SEED))
    sources = make_sources(same_noise, model, cache, turns, None, Alone())
    routed, objective = route(judged.stack, model.spec), OBJECTIVES[config.noise.objective](config, model)
    losses: dict[Expert, float] = {}
    for expert in turns.experts:
        network = sharing_copy(model.expert(expert)).eval()
        if text_tokens(model) is None:
            family_of(model.spec).fold_padding(network)
        call = NetworkCall(network, model.spec)
        batches = sources[expert].held_out(config.watching.num_levels)
        with attach(network, routed.for_expert(expert), model.spec):
            moved = (batch.to(model.device, model.dtype) for batch in batches)
            losses[expert] = sum(float(loss) for batch in moved for loss in objective(call, batch)) / len(batches)
    return losses
