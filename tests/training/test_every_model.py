"""From a folder of clips to LoRA files on every kind of model, each small, random, and of the true architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tiny
import tiny_cosmos
from filmed import moving

from lora_core import open_wan, read_lora, save_video
from lora_core.engine.previews import make_previews
from lora_core.families.cosmos.open import open_cosmos
from lora_core.families.opened import OpenedModel
from lora_core.families.wan.model import WanModel
from lora_core.training.clips.prepare import prepare
from lora_core.training.config import make_config
from lora_core.training.train import train

#: (height, width) of the clips; their number of frames is 9.
SIZE = (32, 32)


def _pair(folder: Path, in_channels: int = 16) -> WanModel:
    files = tiny.save_files(folder, in_channels=in_channels)
    return open_wan(files.high, offload="experts", **files.arguments())


def _folder(folder: Path, **kind: object) -> WanModel:
    return open_wan(tiny.save_folder(folder / "model", two_experts=False, **kind), offload="experts")  # type: ignore[arg-type]


def _fp8(folder: Path) -> WanModel:
    files = tiny.save_files(folder)
    tiny.save_fp8(tiny.transformer(0), files.high, "scaled")
    tiny.save_fp8(tiny.transformer(1), files.low, "scaled")
    return open_wan(files.high, **files.arguments())


MODELS: Mapping[str, Callable[[Path], OpenedModel]] = {
    "Wan 2.2 T2V": _pair,
    "Wan 2.2 I2V": lambda folder: _pair(folder, in_channels=36),
    "Wan 2.1 T2V": _folder,
    "Wan 2.1 I2V": lambda folder: _folder(folder, in_channels=36, image_encoder=tiny.image_encoder()),
    "Wan 2.1 FLF2V": lambda folder: _folder(
        folder, in_channels=36, image_encoder=tiny.image_encoder(), first_and_last=True
    ),
    "Wan 2.2 5B": lambda folder: _folder(folder, in_channels=48, large_vae=True),
    "Wan 2.2 T2V in fp8": _fp8,
    "Cosmos Predict2": lambda folder: open_cosmos(tiny_cosmos.save_folder(folder / "model"), offload="experts"),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        save_video(moving(9, *SIZE, seed=number), folder / f"{number}.mp4", 16.0)
        (folder / f"{number}.txt").write_text("a red circle moves left")
    return folder


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_folder_of_clips_becomes_a_lora_that_fits_the_model(
    kind: str, method: str, clips: Path, tmp_path: Path
) -> None:
    model = MODELS[kind](tmp_path)
    given = {
        "clips": str(clips),
        "name": "mine",
        "num_frames": 9,
        "resolution": 32,
        "held_out": 0.25,
        "max_upscale": 4.0,
    }
    learning = {"steps": 4, "switch_every": 1, "rank": 4, "validate_every": 4, "num_levels": 2, "lr": 1e-3}
    shown = {"preview_every": 4, "preview_prompts": ["a red circle"], "preview_steps": 2, "preview_cfg": 1.0}
    config = make_config({**given, **learning, **(shown if method == "lora" else {}), "method": method, "fps": 16.0})
    cache = prepare(clips, model, config.clips, cache=tmp_path / "cache").cache
    assert (len(cache.trained), len(cache.held_out)) == (3, 1)
    previews = make_previews(tmp_path / "previews", model, config.watching, cache.trained)
    trained = train(config, model, cache, tmp_path / "out", preview=previews)
    names = {"mine_high_noise", "mine_low_noise"} if model.spec.num_experts == 2 else {"mine"}
    assert {file.stem for file in trained.files.values()} == names
    for file in trained.files.values():
        weights = read_lora(file, spec=model.spec)
        assert all(delta.norm() > 0 for delta in weights.deltas.values())
    if method == "lora":
        assert (tmp_path / "previews" / "sheet.png").is_file()
        assert (tmp_path / "previews" / "step-000004" / "1.mp4").is_file()
