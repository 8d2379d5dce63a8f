"""The probe of a method: how many weights learn, and the bytes of tensors that training one expert takes."""

from __future__ import annotations

import gc
from itertools import chain

from ..checkpoints.meter import MemoryMeter
from ..families.opened import OpenedModel
from ..training.assembly import make_learner, make_sources, turns_of
from ..training.clips.cached import ClipCache
from ..training.config import TrainConfig
from ..training.ranks import Alone


def probe(config: TrainConfig, model: OpenedModel, cache: ClipCache) -> dict[str, int]:
    """Return what one expert takes while it is made ready and takes two steps.

    Returns:
        `num_weights`: those of one expert that learn.
        `tensor_bytes`: the most that tensors have held at once, the frozen weights among them: what a compute device
            has to hold, but for kernels' workspaces and the allocator's fragments.
    """
    turns = turns_of(config.learning, model.spec)
    source = make_sources(config, model, cache, turns, None, Alone())
    expert = turns.experts[0]
    lent = 0
    if config.adapter.is_lent:  # what is there before the meter weighs nothing for it
        network = model.expert(expert)
        lent = sum(tensor.nbytes for tensor in chain(network.parameters(), network.buffers()))
    gc.collect()
    with MemoryMeter() as meter:
        learner = make_learner(expert, config, model, source[expert], turns, Alone())
        for _ in range(2):
            learner.step()
    num_weights = sum(weight.numel() for weight in learner.trainee.weights.values())
    model.release()
    return {"num_weights": num_weights, "tensor_bytes": meter.peak + lent}
