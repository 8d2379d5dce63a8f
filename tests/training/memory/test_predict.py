"""The predicted memory against the storages that a real training makes, weights, gradients and optimiser included."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from training.pocket_clips import neon_clips

from lora_core import open_wan
from lora_core.checkpoints.meter import MemoryMeter
from lora_core.families.wan.model import WanModel
from lora_core.training.assembly import make_learner, make_sources, turns_of
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.learner import Learner
from lora_core.training.memory.load import load_of_cache, load_of_config
from lora_core.training.memory.optimizer_bytes import STATE_BYTES
from lora_core.training.memory.predict import predicted
from lora_core.training.optimizers import make_optimizer
from lora_core.training.ranks import Alone

SMALL = {"clips": "x", "name": "n", "steps": 4, "switch_every": 1}
CASES: dict[str, dict[str, Any]] = {
    "lora": {"rank": 8},
    "lora in bfloat16, checkpointing": {"rank": 8, "dtype": "bfloat16", "checkpointing": True, "batch_size": 4},
    "lora of one expert, accumulating, with an average": {
        "accumulation": 2,
        "ema": 0.9,
        "experts": "low",
        "switch_every": 10,
    },
    "lora with dropout in some blocks": {"dropout": 0.1, "blocks": "2-3", "batch_size": 2},
    "dora": {"adapter": "dora", "rank": 4, "checkpointing": True},
    "nf4": {"method": "qlora", "dtype": "bfloat16", "checkpointing": True, "batch_size": 2},
    "int8, adafactor": {"method": "qlora", "base": "int8", "optimizer": "adafactor"},
    "fp8, checkpointing": {"method": "qlora", "base": "fp8", "checkpointing": True, "batch_size": 4},
    "full": {"method": "full", "batch_size": 2},
    "full in bfloat16, 8-bit optimiser": {
        "method": "full",
        "dtype": "bfloat16",
        "optimizer": "adamw8bit",
        "checkpointing": True,
    },
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=4, num_held_out=0)


def opened(config: TrainConfig) -> WanModel:
    dtype = torch.bfloat16 if config.model.dtype == "bfloat16" else torch.float32
    return open_wan("pocket", dtype=dtype, offload="experts")


@pytest.mark.parametrize("case", CASES)
def test_the_prediction_is_near_the_measured_peak(clips: ClipCache, case: str) -> None:
    config = make_config(SMALL | CASES[case])
    model = opened(config)
    prediction = predicted(config, model, load_of_cache(config, model.spec, clips, None))
    measured = measured_peak(config, model, clips)
    told = prediction.allocated - prediction.parts["clips"].system
    assert abs(told / measured - 1) < 0.05, f"{told / measured:.3f}"


def measured_peak(config: TrainConfig, model: WanModel, clips: ClipCache) -> int:
    """Make the learners of a training and let each take two steps, as its loop does."""
    turns = turns_of(config.learning, model.spec)
    sources = make_sources(config, model, clips, turns, None, Alone())
    for expert in turns.experts:
        model.at_rest(expert)  # a prediction is on top of what lies there already
    gc.collect()
    with MemoryMeter() as meter:
        learners: list[Learner] = []
        for expert in turns.experts:
            learners.append(make_learner(expert, config, model, sources[expert], turns, Alone()))
            learners[-1].rest()
        for learner in learners * 2:
            learner.step()
            learner.rest()
    return meter.peak


def test_three_blocks_stand_for_all() -> None:
    """The pocket model has six; naming them all lets each be rehearsed."""
    short, whole = (make_config(SMALL | {"checkpointing": True, "blocks": blocks}) for blocks in ("", "0-5"))
    model = opened(short)
    load = load_of_config(short, model.spec, 512)
    assert predicted(short, model, load) == predicted(whole, model, load)


def test_nothing_is_left_behind_by_a_rehearsal(clips: ClipCache) -> None:
    config = make_config(SMALL | {"method": "qlora"})
    model = opened(config)
    network = model.expert("high_noise")
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    state = torch.get_rng_state()
    predicted(config, model, load_of_cache(config, model.spec, clips, None))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in model.expert("high_noise").named_parameters())
    assert not any(parameter.is_meta for parameter in network.parameters())


def test_what_is_on_a_device_of_its_own_and_what_waits_in_system_memory(clips: ClipCache) -> None:
    """The device is none that this machine has: nothing is computed on it."""
    config = make_config(SMALL | {"method": "qlora"})
    cpu = opened(config)
    residence = cpu.residence
    on_device = replace(cpu, residence=_Elsewhere(residence))  # type: ignore[arg-type]  # it says where, and no more
    load = load_of_cache(config, cpu.spec, clips, None)
    prediction = predicted(config, on_device, load)
    frozen, learning = prediction.parts["frozen weights"], prediction.parts["learning weights"]
    assert frozen.device == frozen.system > 0
    assert learning.device == learning.system == prediction.parts["gradients"].device
    offloaded = predicted(make_config(SMALL | {"method": "qlora", "offload": True}), on_device, load)
    moved = frozen.device - offloaded.parts["frozen weights"].device
    assert moved > 0.4 * frozen.device
    assert offloaded.system - prediction.system == moved


class _Elsewhere:
    """A residence on a device that is not there."""

    def __init__(self, residence: Any) -> None:
        self.device, self.offload, self.lock = torch.device("cuda"), residence.offload, residence.lock


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "adafactor", "prodigy", "muon"])
def test_the_state_of_an_optimiser_is_what_is_reckoned_with(name: str) -> None:
    shapes = [(32, 160), (4, 8), (24,)]
    weights = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    optimizer = make_optimizer(weights, replace(make_config(SMALL).learning, optimizer=name))
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    kept = [value for row in optimizer.state.values() for value in row.values() if isinstance(value, torch.Tensor)]
    shared = {id(value): value.nbytes for value in kept if value.numel() > 1 and value.numel() != 256}
    assert sum(STATE_BYTES[name](shape) for shape in shapes) == sum(shared.values())


def test_a_load_without_clips_is_what_the_configuration_allows() -> None:
    config = make_config(SMALL | {"num_frames": 9, "resolution": 96, "batch_size": 3})
    load = load_of_config(config, opened(config).spec, 512)
    assert load.latents == (3, 16, 3, 12, 12)
    assert load.condition == {"positive": (3, 512, 64)}


def test_the_largest_batch_of_cached_clips_is_reckoned_with(clips: ClipCache) -> None:
    config = make_config(SMALL | {"batch_size": 3})
    channels, frames, rows, columns = clips.clips[0].shape
    long = replace(clips.clips[0], shape=(channels, 2 * frames, rows, columns))
    load = load_of_cache(config, opened(config).spec, replace(clips, clips=(*clips.clips, long)), None)
    assert load.latents == (3, channels, frames, rows, columns)  # one twice as long is less than three
    assert 1 < load.condition["positive"][1] < 40
