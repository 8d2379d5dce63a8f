"""What image models are told of a clip, beside its latents: what the sampler would tell them of its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from filmed import moving
from PIL import Image

from lora_core.families.opened import OpenedModel
from lora_core.families.registry import family_of
from lora_core.families.wan.open import open_wan
from lora_core.training.clips.encode import encode_clip, to_frames, to_pixels

FRAMES = moving(9, 32, 48)


def told_by_the_sampler(model: OpenedModel, last: bool) -> dict[str, torch.Tensor]:
    pictures = (Image.fromarray(FRAMES[0]), Image.fromarray(FRAMES[-1]) if last else None)
    told = family_of(model.spec).condition(model, (torch.zeros(1, 1, 1), None), pictures, len(FRAMES))
    return {
        name: getattr(told, name)[0]
        for name in ("image_channels", "image_embeds", "known_frames")
        if getattr(told, name) is not None
    }


@pytest.fixture
def two_experts(tmp_path: Path) -> OpenedModel:
    files = tiny.save_files(tmp_path, in_channels=36)
    return open_wan(files.high, **files.arguments())


@pytest.mark.parametrize("both_ends", [False, True])
def test_a_model_with_clip_features_is_told_them_of_one_or_both_ends(tmp_path: Path, both_ends: bool) -> None:
    folder = tiny.save_folder(
        tmp_path / "model",
        two_experts=False,
        in_channels=36,
        image_encoder=tiny.image_encoder(),
        first_and_last=both_ends,
    )
    model = open_wan(folder)
    assert model.spec.first_and_last == both_ends
    tensors = encode_clip(model, FRAMES)
    expected = told_by_the_sampler(model, last=both_ends)
    assert set(tensors) == {"latents", "image_channels", "image_embeds"}
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name


def test_a_model_of_two_experts_is_told_the_first_picture_as_channels(two_experts: OpenedModel) -> None:
    tensors = encode_clip(two_experts, FRAMES)
    assert set(tensors) == {"latents", "image_channels"}
    assert tensors["image_channels"].shape == (20, 3, 4, 6)
    assert torch.equal(tensors["image_channels"], told_by_the_sampler(two_experts, last=False)["image_channels"])
    assert tensors["image_channels"][:4, 0].eq(1).all()
    assert tensors["image_channels"][:4, 1:].eq(0).all()


def test_a_text_model_is_told_nothing_but_the_text() -> None:
    assert set(encode_clip(open_wan("pocket"), moving(5))) == {"latents"}


def test_frames_become_pixels_and_come_back() -> None:
    pixels = to_pixels(FRAMES)
    assert pixels.shape == (1, 3, 9, 32, 48)
    assert pixels.abs().max() <= 1
    assert (to_frames(pixels) == FRAMES).all()
    assert to_frames(pixels * 3).max() == 255
