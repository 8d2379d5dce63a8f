"""The objective that extends clips: radial where it is long, dense where it is known, and what its files tell."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from trainees import stir
from training.pocket_clips import neon_clips, pocket

from lora_core.attention.controller import make_controller
from lora_core.errors import LoraCoreError, TrainingError
from lora_core.files.trained_length import TrainedLength, trained_length
from lora_core.training.assembly import NetworkCall, make_sources, turns_of
from lora_core.training.batches import Batch
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.lengths import Lengths, beginning, lengths_of, radial_of
from lora_core.training.network.trainee import Trainee, make_trainee
from lora_core.training.objectives.extend_length import ExtendLength, make_extend_length
from lora_core.training.ranks import Alone
from lora_core.training.train import Trained, train

LONG, BASE = 33, 17
KEYS = {
    **{"clips": "x", "name": "longer", "objective": "extend-length", "num_frames": LONG, "dense_blocks": 1},
    **{"rank": 4, "targets": ["attention"], "steps": 4, "switch_every": 1, "batch_size": 2, "caption_dropout": 0.0},
    **{"validate_every": 2, "num_levels": 1, "memory_plan": "as_asked"},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), 3, 1, num_frames=LONG)


def config(**given: Any) -> TrainConfig:
    return make_config({**KEYS, **given})


def run(clips: ClipCache, out: Path, **given: Any) -> Trained:
    return train(config(**given), pocket(), clips, out)


@pytest.fixture
def trainee() -> Trainee:
    made = make_trainee(copy.deepcopy(pocket().expert("low_noise")), config().adapter)
    stir(made)
    return made


def batch_of(clips: ClipCache, chosen: TrainConfig) -> Batch:
    turns = turns_of(chosen.learning, pocket().spec)
    batch = make_sources(chosen, pocket(), clips, turns, None, Alone())["low_noise"][0]
    assert isinstance(batch, Batch)
    return batch


def losses(objective: ExtendLength, trainee: Trainee, batch: Batch) -> list[float]:
    with torch.no_grad():
        return [loss.item() for loss in objective(NetworkCall(trainee.network, pocket().spec), batch)]


def error_of(velocity: Tensor, batch: Batch) -> float:
    return float((velocity - batch.velocity).square().mean())


def test_the_long_length_is_radial_and_the_known_one_dense(clips: ClipCache, trainee: Trainee) -> None:
    chosen = config()
    batch, call = batch_of(clips, chosen), NetworkCall(trainee.network, pocket().spec)
    long, base = losses(make_extend_length(chosen, pocket()), trainee, batch)
    controller = make_controller(pocket().spec, batch.latents.shape, 1, radial_of(chosen))
    controller.at_step(0)
    with torch.no_grad():
        dense = call(batch.noisy, batch.level, batch.condition)
        with controller.on(trainee.network):
            radial = call(batch.noisy, batch.level, batch.condition)
        known = beginning(batch, 5)
        short = call(known.noisy, known.level, known.condition)
    assert controller.num_radial == pocket().spec.num_blocks - 1
    assert controller.block_map.density < 1
    assert long == pytest.approx(error_of(radial, batch), rel=1e-5)
    assert abs(long - error_of(dense, batch)) > 1e-5
    assert base == pytest.approx(error_of(short, known), rel=1e-5)


def test_the_known_length_counts_as_much_as_is_asked(clips: ClipCache, trainee: Trainee) -> None:
    batch = batch_of(clips, config())
    whole, half, none = (
        losses(make_extend_length(config(base_weight=weight), pocket()), trainee, batch) for weight in (1.0, 0.5, 0.0)
    )
    assert half == pytest.approx([whole[0], whole[1] / 2])
    assert none == whole[:1]


def test_consistency_compares_with_the_network_as_it_was_on_the_same_latents(
    clips: ClipCache, trainee: Trainee
) -> None:
    batch, call = batch_of(clips, config()), NetworkCall(trainee.network, pocket().spec)
    held = losses(make_extend_length(config(consistency=2.0), pocket()), trainee, batch)
    plain = losses(make_extend_length(config(), pocket()), trainee, batch)
    known, controller = beginning(batch, 5), make_controller(pocket().spec, batch.latents.shape, 1, radial_of(config()))
    controller.at_step(0)
    with torch.no_grad():
        teacher = NetworkCall(pocket().expert("low_noise"), pocket().spec)
        taught = teacher(known.noisy, known.level, known.condition)
        with controller.on(trainee.network):
            learnt = call(batch.noisy, batch.level, batch.condition)
    distance = float((learnt[:, :, :5] - taught).square().mean())
    assert distance > 1e-4
    assert held[0] == pytest.approx(plain[0] + 2.0 * distance, rel=1e-4)
    assert all(weight.requires_grad for weight in trainee.weights.values())


def test_gradients_reach_what_learns_through_both_lengths_and_through_checkpointing(
    clips: ClipCache, trainee: Trainee
) -> None:
    batch, call = batch_of(clips, config()), NetworkCall(trainee.network, pocket().spec)
    objective, found = make_extend_length(config(consistency=0.1), pocket()), []
    for checkpointing in (False, True):
        trainee.checkpointing(checkpointing)
        trainee.network.train()
        for weight in trainee.weights.values():
            weight.grad = None
        for loss in objective(call, batch):
            loss.backward()
        found.append({name: weight.grad.clone() for name, weight in trainee.weights.items()})
    assert all(gradient.any() for gradient in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-7)


def test_the_beginning_of_a_clips_latents_is_that_of_the_shorter_clip(clips: ClipCache, tmp_path: Path) -> None:
    batch = batch_of(clips, config())
    short = beginning(batch, 5)
    assert short.latents.shape[2] == short.noise.shape[2] == 5
    frames = torch.rand(1, 3, LONG, 64, 64) * 2 - 1
    long_latents, short_latents = pocket().vae_encode(frames), pocket().vae_encode(frames[:, :, :BASE])
    torch.testing.assert_close(long_latents[:, :, :5], short_latents, rtol=1e-4, atol=1e-4)


def test_the_length_grows_in_stages(clips: ClipCache) -> None:
    chosen = config(progressive=2, steps=8, high_share=0.5)
    source = make_sources(chosen, pocket(), clips, turns_of(chosen.learning, pocket().spec), None, Alone())["low_noise"]
    lengths = [source[number].latents.shape[2] for number in range(4)]
    assert lengths == [7, 7, 9, 9]
    assert {batch.latents.shape[2] for batch in source.held_out(1)} == {9}
    assert lengths_of(config(progressive=100), pocket().spec) == Lengths(5, 9, (6, 7, 8, 9))


def test_files_tell_of_lengths_and_how_they_were_attended_to(clips: ClipCache, tmp_path: Path) -> None:
    trained = run(clips, tmp_path, radial_decay=0.9)
    for file in trained.files.values():
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
        assert trained_length(metadata) == TrainedLength(BASE, LONG, 0.9, 1)
        assert metadata["kind"] == "length"


@pytest.mark.parametrize(
    "broken", [{"length_num_frames": "9"}, {"length_base_frames": "x"}, {"length_radial_decay": "0"}]
)
def test_what_files_tell_wrongly_is_not_believed(broken: Mapping[str, str]) -> None:
    told = TrainedLength(17, 65, 1.0, 2).to_metadata()
    assert trained_length(told) == TrainedLength(17, 65, 1.0, 2)
    assert trained_length(told | dict(broken)) is None
    assert trained_length({}) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"num_frames": 17}, "num_frames: 17 frames are no more than the 17 that are known already."),
        ({"num_frames": 9, "base_frames": 13}, "num_frames: 9 frames are no more than the 13 that are known already."),
        ({"num_frames": 32}, "num_frames: 32 (4k+1, such as 29 or 33)."),
        ({"base_frames": 6}, "base_frames: 6 (4k+1, such as 5 or 9)."),
        ({"num_frames": 8193}, "num_frames: 8193 (at most "),
        ({"radial_decay": 0.0}, "radial_decay: 0 leaves nothing of a band (above 0"),
        ({"dense_blocks": 40}, "dense_blocks: 40 dense blocks leave none that is radial"),
        ({"consistency": -1.0}, "consistency: -1 is negative (0 or more)."),
        ({"progressive": 0}, "progressive: 0 is out of range (at least 1)."),
        ({"objective": "flow"}, "dense_blocks: would do nothing without objective = extend-length."),
        (
            {"num_frames": 65},
            "clip_0: 33 frames are too few to learn 17 latent frames of. Take out or replace clip_0, clip_1",
        ),
    ],
)
def test_what_cannot_be_learnt_is_said_before_a_network_runs(
    clips: ClipCache, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(LoraCoreError) as error:
        run(clips, tmp_path / "out", **given)
    assert isinstance(error.value, TrainingError)
    assert str(error.value).startswith(said)
    assert not (tmp_path / "out").exists()


def test_the_published_adapter_is_the_usual_one_and_gives_way_to_what_is_asked_for() -> None:
    usual = make_config({"clips": "x", "name": "n", "objective": "extend-length", "num_frames": 161}).adapter
    assert (usual.rank, usual.alpha, usual.targets) == (128, 128.0, ("attention",))
    assert config(rank=8).adapter.rank == 8
