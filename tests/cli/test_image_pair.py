"""The image pair from the shell: a video that begins with the picture it was given, and a LoRA trained on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filmed import shipped_clips
from PIL import Image

from lora_core import read_video
from lora_core.pocket import world
from lora_core.pocket.measure import read_clip
from lora_core.pocket.quality import psnr_db
from lora_core.pocket.samples import first_picture

Run = Callable[..., tuple[int, str, str]]
SCENE = world.random_scene(np.random.default_rng(3), colour="red", shape="cross", motion="left", background="striped")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "first.png"
    first_picture(SCENE).save(file)
    return file


@pytest.mark.parametrize("how", [("--steps", 30, "--cfg", 3.5), ("--lora", "speed_6steps")])
def test_a_video_begins_with_its_picture_and_goes_where_the_words_say(
    run: Run, picture: Path, tmp_path: Path, how: tuple[object, ...]
) -> None:
    asked = ("generate", "--model", "pocket-i2v", "--image", picture, "-p", world.caption(SCENE))
    assert run(*asked, *how, "-o", tmp_path / "clip.mkv")[0] == 0
    frames = read_video(tmp_path / "clip.mkv")[0].astype(np.float32) / 127.5 - 1
    seen = read_clip(frames)
    assert (seen.colour, seen.shape, seen.motion) == ("red", "cross", "left")
    assert psnr_db(frames[:1], np.asarray(Image.open(picture), np.float32)[None] / 127.5 - 1) > 20


def test_it_wants_a_picture(run: Run) -> None:
    code, _, err = run("generate", "--model", "pocket-i2v", "-p", "a red cross moves left")
    assert code == 1
    assert "Wan pocket I2V continues a picture and none is given. Give an image" in err


def test_a_lora_is_trained_on_it_and_fits_it(run: Run, tmp_path: Path) -> None:
    clips = shipped_clips(tmp_path / "clips", 3)
    keys = [f"--set={key}" for key in ("rank=2", "switch_every=1", "batch_size=1", "validate_every=0")]
    asked = ("train", "--model", "pocket-i2v", "--clips", clips, "--steps", 2, *keys)
    assert run(*asked, "-o", tmp_path / "moved")[0] == 0
    code, out, _ = run("inspect", tmp_path / "moved" / "moved_high_noise.safetensors", "--model", "pocket-i2v")
    assert code == 0
    assert "180 tensors: 180 applied" in out
