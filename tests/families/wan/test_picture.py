"""What an image model is told of its pictures."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from lora_core.families.wan.model import WanModel
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.picture import condition


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8))


def picture_parts(model: WanModel, first: Image.Image | None, last: Image.Image | None, num_frames: int) -> tuple:
    """Return what a condition has beside its texts: image channels, CLIP features, known frames."""
    told = condition(model, (torch.zeros(1, 512, 8), None), (first, last), num_frames)
    return told.image_channels, told.image_embeds, told.known_frames


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> WanModel:
    folder = tmp_path_factory.mktemp("i2v")
    return open_wan(
        tiny.save_native(tiny.image_transformer(), folder / "i2v.safetensors"),
        vae=tiny.save_vae(tiny.vae(), folder / "vae.safetensors"),
        image_encoder=tiny.save_image_encoder(tiny.image_encoder(), folder / "clip.safetensors"),
    )


def test_a_model_that_is_given_no_picture_is_told_nothing(model: WanModel) -> None:
    assert picture_parts(model, None, None, 5) == (None, None, None)


def test_the_features_of_two_pictures_stand_one_behind_the_other(model: WanModel) -> None:
    channels, embeds, known = picture_parts(model, picture(0), picture(1), 5)
    assert channels is not None
    assert embeds is not None
    assert known is None
    assert channels.shape == (1, 20, 2, 4, 8)
    expected = torch.cat([model.encode_picture(picture(seed)) for seed in (0, 1)], dim=1)
    assert torch.equal(embeds, expected)
    assert embeds.shape == (1, 2 * tiny.NUM_IMAGE_TOKENS, tiny.IMAGE_WIDTH)


def test_a_model_without_a_clip_branch_asks_for_no_encoder(tmp_path: Path) -> None:
    source = tiny.save_native(tiny.transformer(0, in_channels=36), tmp_path / "i2v.safetensors")
    model = open_wan(source, vae=tiny.save_vae(tiny.vae(), tmp_path / "vae.safetensors"))
    channels, embeds, known = picture_parts(model, picture(0), None, 5)
    assert channels is not None
    assert (embeds, known) == (None, None)
