"""Whole runs of a tiny Cosmos against diffusers' `Cosmos2VideoToWorldPipeline`."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lora_core.engine.checked import plan_request
from lora_core.engine.generate import _told, generate
from lora_core.engine.generator import WanVideoGenerator
from lora_core.engine.request import GenerationRequest
from lora_core.families.cosmos.names import to_diffusers
from lora_core.plan.sigmas import karras_sigmas
from lora_core.sampling.noise import draw_noise
from lora_core.sampling.sample import sample
from lora_core.stack.stack import LoraStack

#: diffusers' scheduler takes a tensor of torch for an array of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS, GUIDANCE, SEED = 5, 7.0, 3
SIZE = {"num_frames": 13, "height": 32, "width": 48}
PROMPT, NEGATIVE = "a red circle moves up", "blue striped"
LATENTS = (1, 16, 4, 4, 6)


def frames(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)) for _ in range(count)]


def request(count: int = 1, **settings) -> GenerationRequest:
    told = {"num_steps": STEPS, "cfg": 1 + GUIDANCE, "seed": SEED, **SIZE, **settings}
    return GenerationRequest(PROMPT, NEGATIVE, first_frames=frames(count), **told)


def of_peer(pipeline, count: int = 1, **settings) -> torch.Tensor:
    """Return the normalised latents that diffusers' pipeline makes of the same noise."""
    given = {"image": frames(1)[0]} if count == 1 else {"video": frames(count)}
    arguments = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **SIZE, **given, **settings}
    noise = draw_noise(LATENTS, SEED)
    return pipeline(prompt=PROMPT, negative_prompt=NEGATIVE, latents=noise, output_type="latent", **arguments).frames


def to_the_end(pipeline):
    """Let the peer's last step go to 0, as NVIDIA's own last step does; as it is, it goes nowhere."""
    pipeline.scheduler.register_to_config(final_sigmas_type="zero")
    return pipeline


@pytest.mark.parametrize("count", [1, 5])
def test_a_run_is_that_of_diffusers_on_one_and_on_five_known_frames(model, pipeline, count):
    theirs, video = of_peer(to_the_end(pipeline), count), generate(model, request(count))
    torch.testing.assert_close(model.normalise(video.latents), theirs, atol=1e-4, rtol=0)
    assert video.frames.shape == (13, 32, 48, 3)


def test_without_its_last_step_a_run_is_that_of_diffusers_as_it_is(model, pipeline):
    """The pipeline's last step goes from 0.002 to 0.002 and so leaves that noise on what is not known."""
    asked = request()
    plan = plan_request(model.spec, asked, LoraStack())
    texts = (model.encode_text(PROMPT), model.encode_text(NEGATIVE))
    condition = _told(model, texts, asked.clip(model.spec))
    ours = sample(model, replace(plan, steps=plan.steps[:-1]), draw_noise(LATENTS, SEED), condition)
    theirs = of_peer(pipeline)
    torch.testing.assert_close(model.normalise(ours)[:, :, 1:], theirs[:, :, 1:], atol=1e-4, rtol=0)


def test_a_lora_acts_as_in_diffusers_and_leaves_no_trace(model, pipeline, tmp_path):
    generator = torch.Generator().manual_seed(5)
    ours, theirs = {}, {}
    for target in ("blocks.0.self_attn.q_proj", "blocks.1.cross_attn.v_proj", "blocks.1.mlp.layer1"):
        out, width = model.spec.shapes[target]
        path = to_diffusers(f"{target}.weight").removesuffix(".weight")
        for leaf, shape in (("lora_A", (4, width)), ("lora_B", (out, 4))):
            tensor = torch.randn(shape, generator=generator) / 3
            ours[f"net.{target}.{leaf}.default.weight"] = theirs[f"{path}.{leaf}.weight"] = tensor
    save_file(ours, tmp_path / "lora.safetensors")
    without = of_peer(to_the_end(pipeline), num_inference_steps=2)
    pipeline.transformer.load_lora_adapter(theirs, prefix=None, adapter_name="lora")
    stack = LoraStack().add(tmp_path / "lora.safetensors")
    with_lora = of_peer(pipeline, num_inference_steps=2)
    made = model.normalise(generate(model, request(num_steps=2), stack).latents)
    torch.testing.assert_close(made, with_lora, atol=1e-4, rtol=0)
    assert (with_lora - without).abs().max() > 0.05
    torch.testing.assert_close(
        model.normalise(generate(model, request(num_steps=2)).latents), without, atol=1e-4, rtol=0
    )


def test_the_rate_of_frames_reaches_the_network(model, pipeline):
    ten, usual = (generate(model, request(num_steps=2, fps=fps)) for fps in (10.0, None))
    theirs = of_peer(to_the_end(pipeline), num_inference_steps=2, fps=10)
    torch.testing.assert_close(model.normalise(ten.latents), theirs, atol=1e-4, rtol=0)
    assert (ten.latents - usual.latents).abs().max() > 1e-3
    assert (ten.fps, usual.fps) == (10.0, 16.0)


def test_the_noise_that_known_frames_are_said_to_carry_reaches_the_network(model, pipeline):
    noisy, usual = (generate(model, request(num_steps=2, sigma_conditioning=sigma)) for sigma in (0.5, None))
    theirs = of_peer(to_the_end(pipeline), num_inference_steps=2, sigma_conditioning=0.5)
    torch.testing.assert_close(model.normalise(noisy.latents), theirs, atol=1e-4, rtol=0)
    assert (noisy.latents - usual.latents).abs().max() > 1e-3


def test_the_levels_are_those_of_nvidia(model):
    plan = plan_request(model.spec, GenerationRequest(PROMPT, num_steps=35), LoraStack())
    assert plan.sigmas == karras_sigmas(35)
    edm = [sigma / (1 - sigma) for sigma in plan.sigmas]
    assert [edm[0], edm[34], edm[35]] == pytest.approx([80, 0.002, 0])


def test_a_video_of_one_picture_keeps_it_and_its_record_makes_it_again(model):
    picture, generator = frames(1)[0], WanVideoGenerator(model)
    video = generator.generate_video(PROMPT, picture, num_steps=2, **SIZE)
    again = generator.generate_video(PROMPT, first_frames=[picture], num_steps=2, **SIZE)
    torch.testing.assert_close(video.latents, again.latents)
    known = model.vae_encode(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1)
    torch.testing.assert_close(video.latents[:, :, :1], known)
    world = generator.generate_video(PROMPT, num_steps=2, **SIZE)
    assert (world.latents[:, :, :1] - known).abs().max() > 0.1
