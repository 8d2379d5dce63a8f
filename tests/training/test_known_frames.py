"""Frames that are given and not learnt: which batches have them, and a network that is trained to go on from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_cosmos
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lora_core.errors import TrainingError
from lora_core.families.cosmos.open import open_cosmos
from lora_core.families.opened import OpenedModel
from lora_core.families.registry import spec_named
from lora_core.training.assembly import NetworkCall, known_latents
from lora_core.training.batches import BatchSource
from lora_core.training.clips.cached import CachedClip, ClipCache
from lora_core.training.config import make_config
from lora_core.training.levels import Levels
from lora_core.training.objectives.flow import flow
from lora_core.training.settings.noise import NoiseSettings
from lora_core.training.train import train

SHAPE = (16, 3, 4, 4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    """Clips whose later frames are their first one, turned about: what goes on follows from it."""
    folder, generator = tmp_path_factory.mktemp("cache"), torch.Generator().manual_seed(0)
    text = folder / "text.safetensors"
    save_file({"text": torch.randn(3, tiny_cosmos.TEXT_WIDTH, generator=generator)}, text)
    clips = []
    for number in range(6):
        first = torch.randn(16, 1, 4, 4, generator=generator)
        file = folder / f"{number}.safetensors"
        save_file({"latents": torch.cat([first, -first, -first], dim=1)}, file)
        clips.append(CachedClip(str(number), str(number), file, (text,), ("a",), SHAPE, 9, number == 5))
    return ClipCache(folder, tuple(clips), text, "turned")


def source(cache: ClipCache, known: tuple[int, ...]) -> BatchSource:
    return BatchSource(cache, Levels("uniform", 1.0), 2, 0, "low_noise", 0.0, None, known, 10.0)


def test_each_batch_takes_one_of_the_numbers_and_is_else_as_it_was(cache: ClipCache) -> None:
    mixed, none = source(cache, (0, 1, 2)), source(cache, (0,))
    seen = set()
    for number in range(12):
        batch, without = mixed[number], none[number]
        known = batch.condition.known_frames
        seen.add(batch.condition.num_known)
        assert known is None or torch.equal(known, batch.latents[:, :, : known.shape[2]])
        assert torch.equal(batch.noise, without.noise)
        assert torch.equal(batch.latents, without.latents)
        assert batch.condition.num_known == mixed[number].condition.num_known
    assert seen == {0, 1, 2}
    assert batch.condition.fps == 10.0
    assert {batch.condition.num_known for batch in mixed.held_out(2)} == {0}


def test_what_is_given_is_not_learnt(cache: ClipCache) -> None:
    batch = source(cache, (2,))[0]
    wrong_there = batch.velocity.clone()
    wrong_there[:, :, :2] += 100.0
    assert [float(loss) for loss in flow(lambda x, level, told: wrong_there, batch)] == [0.0]


def test_more_frames_than_a_clip_has_leave_one_to_learn(cache: ClipCache) -> None:
    assert source(cache, (7,))[0].condition.num_known == 2


def test_a_network_learns_to_go_on_from_them_and_is_opened_again(cache: ClipCache, tmp_path: Path) -> None:
    start = tiny_cosmos.native_state(tiny_cosmos.transformer())
    metadata = {"config": json.dumps({"transformer": {"rope_scale": [1.0, 2.0, 2.0]}})}
    save_file(start, tmp_path / "start.safetensors", metadata=metadata)
    model = open_cosmos(tmp_path / "start.safetensors")
    keys = {"clips": str(tmp_path), "name": "went_on", "method": "full", "lr": 1e-2, "caption_dropout": 0.0}
    steps = {"steps": 30, "batch_size": 5, "validate_every": 0, "known_frames": "1", "shift": 1.0}
    trained = train(make_config({**keys, **steps, "memory_plan": "as_asked"}), model, cache, tmp_path / "run")
    with safe_open(trained.files["low_noise"], "pt") as file:
        assert json.loads(file.metadata()["config"]) == json.loads(metadata["config"])
        assert set(file.keys()) == {name.removeprefix("net.") for name in start}
    again = open_cosmos(trained.files["low_noise"])
    before, after = (_loss(opened, source(cache, (1,))) for opened in (model, again))
    assert after < 0.8 * before


def _loss(model: OpenedModel, batches: BatchSource) -> float:
    call = NetworkCall(model.expert("low_noise"), model.spec)
    with torch.no_grad():
        return sum(float(loss) for batch in map(batches.__getitem__, range(4)) for loss in flow(call, batch))


def test_the_models_own_numbers_and_what_is_refused() -> None:
    cosmos = spec_named("cosmos-predict2-2b-video2world")
    wan, told = spec_named("wan2.2-i2v-a14b"), spec_named("wan2.2-ti2v-5b")
    assert known_latents(NoiseSettings(), cosmos) == (1, 2)
    assert known_latents(NoiseSettings(known_frames="0, 1"), cosmos) == (0, 1)
    assert known_latents(NoiseSettings(), told) == (0,)
    assert known_latents(NoiseSettings(known_frames="1"), told) == (1,)
    with pytest.raises(TrainingError, match="is not told its first frames by their latents"):
        known_latents(NoiseSettings(known_frames="1"), wan)
    with pytest.raises(TrainingError, match="'one' are no numbers"):
        NoiseSettings(known_frames="one")
