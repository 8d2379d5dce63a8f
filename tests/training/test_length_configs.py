"""The shipped configurations for length LoRAs: read as they are, fit for the models they name, and run small."""

from __future__ import annotations

from pathlib import Path

import pytest
from training.pocket_clips import neon_clips, pocket

from lora_core.families.base import ModelSpec
from lora_core.families.wan.spec import wan_spec
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import read_config
from lora_core.training.lengths import Lengths, lengths_of
from lora_core.training.train import train

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("length-*.toml"))
PUBLISHED = [file for file in FILES if file.stem != "length-quick-test"]
#: What a training of minutes changes of them; everything else stays.
SMALL = ["num_frames=33", "base_frames=17", "rank=4", "steps=2", "switch_every=1", "validate_every=0", "accumulation=1"]
SMALL += ["model=pocket", "memory_plan=as_asked"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), 2, 0, num_frames=33)


def test_there_are_three() -> None:
    names = ("default", "production", "quick-test")
    assert [file.stem for file in FILES] == [f"length-{name}" for name in names]


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
@pytest.mark.parametrize("spec", [wan_spec("wan2.1-t2v-14b"), wan_spec("wan2.2-t2v-a14b")], ids=lambda spec: spec.name)
def test_the_published_lengths_fit_the_models(file: Path, spec: ModelSpec) -> None:
    config = read_config(file, clips="x", name="longer")
    lengths = lengths_of(config, spec)
    assert (lengths.base, lengths.long) == (18, 41)
    assert (config.adapter.rank, config.adapter.targets, config.length.dense_blocks) == (128, ("attention",), 2)


def test_the_production_length_grows() -> None:
    config = read_config(CONFIGS / "length-production.toml", clips="x", name="longer")
    assert lengths_of(config, wan_spec("wan2.1-t2v-14b")) == Lengths(18, 41, (26, 33, 41))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_trains_both_experts_of_a_small_model(file: Path, clips: ClipCache, tmp_path: Path) -> None:
    config = read_config(file, SMALL, clips="x", name="longer")
    trained = train(config, pocket(), clips, tmp_path / "out")
    assert set(trained.files) == {"high_noise", "low_noise"}
