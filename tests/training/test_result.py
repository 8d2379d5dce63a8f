"""The result of a `full` training: all weights, or a LoRA of a rank that says what it loses of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open
from training.pocket_clips import neon_clips, pocket

from lora_core.experts import EXPERTS
from lora_core.files.read import read_lora
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.listener import Listener
from lora_core.training.train import Trained, train


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=3, num_held_out=1)


class Notes(Listener):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def run(clips: ClipCache, out: Path, listener: Listener, **keys) -> Trained:
    common = {"clips": str(clips.folder), "name": "neon", "steps": 4, "switch_every": 1, "method": "full", "lr": 1e-3}
    return train(make_config({**common, "validate_every": 0, **keys}), pocket(), clips, out, listener=listener)


def test_a_lora_of_the_rank_asked_for_says_what_it_loses(clips: ClipCache, tmp_path: Path) -> None:
    notes = Notes()
    trained = run(clips, tmp_path / "run", notes, full_rank=4)
    assert set(trained.files) == set(EXPERTS)
    for expert, file in trained.files.items():
        weights = read_lora(file, spec=pocket().spec)
        assert (weights.ranks, weights.expert) == ((4,), expert)
        assert weights.metadata["modelspec.architecture"] == "wan-pocket/lora"
        assert weights.metadata["method"] == "full"
        error = float(weights.metadata["relative_error"])
        assert 0.01 < error < 1
        assert any(text.startswith(f"{file.name}: relative error {error:.4f} over 67 layers") for text in notes.texts)


def test_without_a_rank_all_weights_are_left(clips: ClipCache, tmp_path: Path) -> None:
    trained = run(clips, tmp_path / "run", Notes())
    with safe_open(trained.files["high_noise"], framework="pt") as file:
        assert len(list(file.keys())) == len(pocket().spec.shapes)
        assert file.metadata()["modelspec.architecture"] == "wan-pocket"
        assert "relative_error" not in file.metadata()
