"""Lighter trainings from clips to files: late blocks, a narrower copy, a rounded base corrected for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training.pocket_clips import neon_clips, pocket

from lora_core.experts import EXPERTS
from lora_core.files.read import read_lora
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.train import train


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=2, num_held_out=1)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"first_block": 4}, {}),
        ({"prune_width": 0.5}, {"prune_width": "0.5"}),
        ({"prune_width": 0.5, "method": "qlora", "base": "fp8"}, {"prune_width": "0.5"}),
        ({"method": "qlora", "base": "fp8", "correct_for": "full"}, {"corrected_from": "fp8"}),
    ],
)
def test_what_is_written_fits_the_whole_model_and_tells_how_it_came_about(
    clips: ClipCache, tmp_path: Path, keys: dict[str, Any], told: dict[str, str]
) -> None:
    common = {"clips": str(clips.folder), "name": "neon", "steps": 2, "switch_every": 1, "rank": 4, "lr": 1e-2}
    config = make_config({**common, "validate_every": 2, "memory_plan": "as_asked", **keys})
    trained = train(config, pocket(), clips, tmp_path / "run")
    assert set(trained.files) == set(EXPERTS)
    for file in trained.files.values():
        weights = read_lora(file, spec=pocket().spec)
        assert {key: weights.metadata[key] for key in told} == told
        blocks = {int(target.split(".")[1]) for target in weights.deltas}
        assert blocks == ({4, 5} if "first_block" in keys else set(range(6)))
        change = weights.deltas["blocks.5.ffn.0"].dense()
        num_zero = int((change.abs().sum(dim=1) == 0).sum())
        assert (num_zero >= 256) is ("prune_width" in keys)
        assert torch.isfinite(change).all()
