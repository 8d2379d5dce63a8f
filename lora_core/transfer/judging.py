"""The judging of LoRAs by clips: the held-out loss of a model's expert with each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..apply.attachment import attach
from ..deltas import Delta
from ..errors import DatasetError
from ..experts import Expert
from ..families.opened import OpenedModel
from ..families.registry import spec_of_module
from ..files.weights import LoraWeights
from ..progress import Progress
from ..training.assembly import NetworkCall, boundary_of, levels_of
from ..training.batches import BatchSource
from ..training.clips.prepare import prepare
from ..training.objectives.flow import flow
from ..training.settings.noise import NoiseSettings
from .transfer import Judge

#: Noise levels that each clip is measured at.
NUM_LEVELS = 4


@dataclass(frozen=True, eq=False)
class _Acting:
    """One LoRA at strength 1, as `attach` takes it."""

    name: str
    deltas: Mapping[str, Delta]
    strength: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)


def clips_judge(
    clips: str | Path, model: OpenedModel, expert: Expert, *, num_levels: int = NUM_LEVELS, progress: Progress
) -> Judge:
    """Return what measures a LoRA on an expert by the held-out clips of a folder, always with the same noise.

    The clips are prepared as a training prepares them, and the ones it would hold out are the ones that count.
    """
    cache = prepare(clips, model, progress=progress).cache
    if not cache.held_out:
        raise DatasetError(clips, "no clip is held out, so none can judge", remedy="Give four clips or more")
    noise, spec = NoiseSettings(), model.spec
    levels = levels_of(noise, spec).of(expert, boundary_of(noise, spec))
    source = BatchSource(cache, levels, 1, 0, expert, 0.0, model.max_tokens)  # as the network itself takes texts
    batches = [batch.to(model.device, model.dtype) for batch in source.held_out(num_levels)]

    @torch.no_grad()
    def judge(weights: LoraWeights | None) -> float:
        with model.lock:
            network = model.expert(expert)
            loras = [] if weights is None else [_Acting(weights.name, weights.deltas)]
            with attach(network, loras, spec_of_module(network)):
                call = NetworkCall(network, spec)
                return float(sum(float(loss) for batch in batches for loss in flow(call, batch)) / len(batches))

    return judge
