"""Trainings by a reward, from clips to a file that makes the judge like the video better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import judges
import pytest
import torch
from safetensors.torch import load_file
from training.pocket_clips import neon_clips, pocket

from lora_core import GenerationRequest, LoraStack, generate
from lora_core.errors import TrainingError
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.train import Trained, train

PROMPT = "a red circle moves up on a plain background"
KEYS = {
    "clips": "x",
    "name": "dark",
    "objective": "reward",
    "reward": "judges:dark",
    "experts": "low",
    "reward_steps": 2,
    "reward_frames": 5,
    "reward_keep": 2.0,
    "teacher_steps": 6,
    "teacher_cfg": 1.0,
    "num_trajectories": 4,
    "batch_size": 2,
    "rank": 4,
    "lr": 3e-3,
    "steps": 10,
    "validate_every": 0,
    "memory_plan": "as_asked",
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), 4, 1, background="plain")


def run(clips: ClipCache, out: Path, resume: bool = False, stop_after: int | None = None, **given: Any) -> Trained:
    return train(config(**given), pocket(), clips, out, resume=resume, stop_after=stop_after)


def config(**given: Any) -> TrainConfig:
    return make_config({**KEYS, **given})


def test_the_judge_likes_what_comes_out_better_and_the_video_is_still_the_same_one(
    clips: ClipCache, tmp_path: Path
) -> None:
    file = run(clips, tmp_path).files["low_noise"]
    request = GenerationRequest(prompt=PROMPT, num_steps=6, seed=3)
    plain, changed = (generate(pocket(), request, stack) for stack in (None, LoraStack().add(file)))
    before, after = (
        judges.dark(torch.from_numpy(video.frames).permute(3, 0, 1, 2)[None] / 127.5 - 1, [PROMPT]).item()
        for video in (plain, changed)
    )
    assert after > before + 0.1
    moved = (plain.latents - changed.latents).square().mean() / plain.latents.var()
    assert moved < 0.5


def test_a_stop_in_the_middle_changes_no_bit(clips: ClipCache, tmp_path: Path) -> None:
    straight = run(clips, tmp_path / "straight", steps=4)
    run(clips, tmp_path / "stopped", steps=4, stop_after=2)
    resumed = run(clips, tmp_path / "stopped", steps=4, resume=True)
    one, other = (load_file(trained.files["low_noise"]) for trained in (straight, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"experts": "both", "steps": 20}, "experts: a reward acts through the last steps"),
        ({"reward_steps": 4}, "reward_steps: of the last 4 steps of 6 3 are the low-noise expert's"),
        ({"reward_steps": 7}, "reward_steps: "),
        ({"reward_frames": 6}, "reward_frames: 6 frames end inside a latent one"),
        ({"reward": ""}, "reward: no judge is named"),
        ({"reward": "judges:nobody"}, "reward: 'judges' has no function 'nobody'"),
        ({"reward_keep": -1.0}, "reward_keep: -1 is negative"),
        ({"objective": "speed"}, "reward: would do nothing without objective = reward"),
    ],
)
def test_what_cannot_be_learnt_is_said_before_anything_is_written(
    clips: ClipCache, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError) as error:
        run(clips, tmp_path / "out", **given)
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()
