"""Headless generation against diffusers' own pipelines, fed the same sigmas: the same video, whatever the model."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from lora_core.engine import generate
from lora_core.errors import ModelError
from lora_core.families.wan_open import open_wan
from lora_core.request import GenerationRequest

SIGMAS = (1.0, 0.96, 0.9, 0.8, 0.5)  # three steps above .875, two below
PROMPT, NEGATIVE = "a red circle moves right on plain background", "blue square"
SMALL = {"num_frames": 5, "height": 32, "width": 64}


def picture(seed=0, height=32, width=64):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def ours(folder, cfg=(1.0, 1.0), **settings):
    request = GenerationRequest(PROMPT, NEGATIVE, sigmas=(*SIGMAS, 0.0), cfg=cfg, seed=3, **{**SMALL, **settings})
    return generate(open_wan(folder), request)


def diffusers_pipeline(folder, kind="WanPipeline"):
    import diffusers

    class GivenSigmas(diffusers.FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, num_inference_steps=None, device=None, **_):
            super().set_timesteps(sigmas=list(SIGMAS), device=device)

    pipeline = getattr(diffusers, kind).from_pretrained(folder, scheduler=GivenSigmas(shift=1.0), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(pipeline, cfg=(1.0, 1.0), *, output_type="latent", **settings):
    """Return what diffusers' pipeline makes of the same request: normalised latents, or frames in [0, 1]."""
    high, low = cfg
    if pipeline.transformer_2 is not None:
        settings["guidance_scale_2"] = low
    return pipeline(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=len(SIGMAS),
        guidance_scale=high,
        generator=torch.Generator().manual_seed(3),
        output_type=output_type,
        **{**SMALL, **settings},
    ).frames


def assert_same_latents(folder, video, expected):
    found = open_wan(folder).normalise(video.latents)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return tiny.save_folder(tmp_path_factory.mktemp("t2v"))


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    return tiny.save_folder(tmp_path_factory.mktemp("i2v"), in_channels=36, boundary_ratio=0.9)


@pytest.fixture(scope="module")
def large_vae_folder(tmp_path_factory):
    return tiny.save_folder(tmp_path_factory.mktemp("ti2v"), two_experts=False, in_channels=48, large_vae=True)


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (4.0, 3.0)])
def test_text_to_video_gives_the_latents_that_diffusers_gives(text_folder, cfg):
    assert_same_latents(text_folder, ours(text_folder, cfg), theirs(diffusers_pipeline(text_folder), cfg))


def test_the_frames_are_those_that_diffusers_decodes(text_folder):
    expected = theirs(diffusers_pipeline(text_folder), output_type="np")[0]
    video = ours(text_folder)
    assert video.frames.dtype == np.uint8
    assert video.frames.shape == expected.shape == (5, 32, 64, 3)
    assert np.abs(video.frames / 255.0 - expected).max() <= 0.5 / 255 + 1e-4


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (3.5, 3.5)])
@pytest.mark.parametrize("with_last", [False, True])
def test_image_to_video_gives_the_latents_that_diffusers_gives(image_folder, cfg, with_last):
    pictures = {"image": picture()} | ({"last_image": picture(1)} if with_last else {})
    expected = theirs(diffusers_pipeline(image_folder, "WanImageToVideoPipeline"), cfg, **pictures)
    assert_same_latents(image_folder, ours(image_folder, cfg, **pictures), expected)


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (5.0, 5.0)])
@pytest.mark.parametrize("with_picture", [False, True])
def test_the_5b_model_gives_the_latents_that_diffusers_gives(large_vae_folder, cfg, with_picture):
    pictures = {"image": picture()} if with_picture else {}
    kind = "WanImageToVideoPipeline" if with_picture else "WanPipeline"
    expected = theirs(diffusers_pipeline(large_vae_folder, kind), cfg, **pictures)
    video = ours(large_vae_folder, cfg, **pictures)
    assert_same_latents(large_vae_folder, video, expected)
