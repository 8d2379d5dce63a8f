"""The embedded model through our engine and through diffusers' pipeline: the same latents."""

import pytest
import torch

from lora_core.engine.generate import generate
from lora_core.engine.request import GenerationRequest
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.pocket import pocket_lora, pocket_paths
from lora_core.stack.stack import LoraStack

pytestmark = pytest.mark.skipif(not pocket_paths().high_noise.exists(), reason="the pocket model is not built yet")

ZIBBO = pocket_lora("zibbo_character", "high_noise")
PROMPT, NEGATIVE = "a red circle moves right on a plain background", ""


@pytest.fixture(scope="module")
def model():
    return open_wan("pocket")


def diffusers_latents(model, sigmas, cfg, latent_shape, seed):
    """Run diffusers' own pipeline on the same networks, from the same noise."""
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    class GivenSigmas(FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, num_inference_steps=None, device=None, **_):
            super().set_timesteps(sigmas=sigmas[:-1], device=device)

    pipeline = WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=None,
        scheduler=GivenSigmas(shift=1.0),
        transformer=model.expert("high_noise"),
        transformer_2=model.expert("low_noise"),
        boundary_ratio=model.spec.boundary,
    )
    pipeline.set_progress_bar_config(disable=True)
    _, _, num_latent_frames, height, width = latent_shape
    return pipeline(
        prompt_embeds=model.encode_text(PROMPT),
        negative_prompt_embeds=model.encode_text(NEGATIVE),
        num_frames=4 * num_latent_frames - 3,
        height=8 * height,
        width=8 * width,
        num_inference_steps=len(sigmas) - 1,
        guidance_scale=cfg[0],
        guidance_scale_2=cfg[1],
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).frames


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (3.5, 3.0)])
def test_the_pocket_model_gives_the_latents_that_diffusers_gives(model, cfg):
    video = generate(model, GenerationRequest(PROMPT, NEGATIVE, num_steps=6, cfg=cfg, seed=4))
    expected = diffusers_latents(model, list(video.plan.sigmas), cfg, video.latents.shape, seed=4)
    assert (model.normalise(video.latents) - expected).abs().max() < 1e-4


@pytest.mark.skipif(not ZIBBO.exists(), reason="the pocket LoRAs are not built yet")
def test_leaving_a_stack_leaves_the_pocket_model_as_it_was(model):
    request = GenerationRequest(PROMPT, num_steps=2, seed=4)
    before = generate(model, request).latents
    stack = LoraStack().add(ZIBBO)
    assert not torch.equal(generate(model, request, stack).latents, before)
    assert torch.equal(generate(model, request).latents, before)
