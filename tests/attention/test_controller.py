"""Radial attention in a run: on self-attention alone, at the steps and blocks meant, gone when the run ends."""

import copy

import numpy as np
import pytest
import tiny
import torch
from toy.family import TOY

from lora_core.attention.block_map import BlockMap, radial_map
from lora_core.attention.controller import RadialController, make_controller
from lora_core.attention.dense import DenseRule
from lora_core.attention.settings import RadialSettings, geometry_of, usual_radial
from lora_core.engine.generate import generate
from lora_core.engine.record import radial_from_record, request_from_record
from lora_core.engine.request import GenerationRequest
from lora_core.errors import ModelError, PlanError, RequestError
from lora_core.families import registry
from lora_core.families.condition import Condition
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.pocket import pocket_lora, pocket_paths
from lora_core.plan.planning import make_plan
from lora_core.sampling.noise import draw_noise
from lora_core.sampling.sample import sample
from lora_core.stack.loading import load_stack
from lora_core.stack.stack import LoraStack

needs_pocket = pytest.mark.skipif(not pocket_paths().high_noise.exists(), reason="the pocket model is not built yet")
ALL_RADIAL = DenseRule(0, 0, 0)
PROMPT = "a red circle moves right on a plain background"
LATENTS = (1, 16, 9, 8, 8)


@pytest.fixture(scope="module")
def model():
    return open_wan("pocket")


def controller(model, num_steps=6, *, full=False, **settings):
    """Return a controller for 33 frames; `full` gives it a map that leaves nothing out."""
    settings = RadialSettings(**{"dense": ALL_RADIAL, **settings})
    made = make_controller(model.spec, LATENTS, num_steps, settings)
    if full:
        blocks = torch.ones_like(made.block_map.blocks)
        made.block_map = BlockMap(made.block_map.geometry, blocks)
    return made


def latents(model, radial=None, stack=None, cfg=1.0, part=(0, None), seed=3):
    loaded = load_stack(stack or LoraStack(), model.spec)
    request = GenerationRequest(PROMPT, "", num_frames=33, num_steps=6, cfg=cfg)
    plan = make_plan(loaded, model.spec, request).part(*part)
    condition = Condition(model.encode_text(PROMPT), model.encode_text(""))
    return sample(model, plan, draw_noise(LATENTS, seed), condition, radial=radial)


@needs_pocket
@pytest.mark.parametrize("cfg", [1.0, 3.5])
@pytest.mark.parametrize("with_loras", [False, True])
@pytest.mark.parametrize("executor", ["gathered", "masked"])
def test_a_map_that_leaves_nothing_out_gives_the_latents_of_dense_attention(model, executor, with_loras, cfg):
    stack = LoraStack()
    if with_loras:
        stack = stack.add(pocket_lora("neon_style", "high_noise"), 0.8)
    full = controller(model, full=True, executor=executor)
    difference = (latents(model, full, stack, cfg) - latents(model, None, stack, cfg)).abs().max()
    assert difference < 2e-4
    assert full.num_radial == 6 * model.spec.num_blocks * (1 if cfg == 1 else 2)


@needs_pocket
def test_executors_agree_on_a_whole_run(model):
    gathered, masked = (latents(model, controller(model, executor=name)) for name in ("gathered", "masked"))
    assert (gathered - masked).abs().max() < 2e-4
    assert (gathered - latents(model)).abs().max() > 1e-2


@needs_pocket
def test_a_video_differs_little_where_the_first_steps_stay_dense_and_its_record_makes_it_again(model):
    request = GenerationRequest(PROMPT, num_frames=33, num_steps=6, seed=4)
    dense = generate(model, request)
    settings = RadialSettings(dense=DenseRule(2, 1, 1))
    video = generate(model, request, radial=settings)
    assert 0 < np.abs(video.frames.astype(int) - dense.frames).mean() < 5  # of 255
    assert any(note.startswith("radial attention: ") for note in video.notes)
    assert video.record["format"] == 3
    assert video.record["radial"]["density"] == round(radial_map(geometry_of(model.spec, LATENTS, settings)).density, 4)
    assert radial_from_record(dense.record) is None
    again = generate(model, request_from_record(video.record), radial=radial_from_record(video.record))
    assert torch.equal(again.latents, video.latents)


@needs_pocket
def test_one_controller_counts_the_steps_of_the_whole_plan_through_both_experts(model):
    asked = []

    class Counting(RadialController):
        def choose(self, block):
            attend = super().choose(block)
            asked.append((self._step, block, attend is None))
            return attend

    settings = RadialSettings(dense=DenseRule(first_steps=1, last_steps=2, first_blocks=2))
    made = make_controller(model.spec, LATENTS, 6, settings)
    counting = Counting(made.spec, made.settings, made.block_map, made.dense)
    latents(model, counting)
    num_blocks = model.spec.num_blocks
    expected = [(s, b, not (1 <= s < 4 and b >= 2)) for s in range(6) for b in range(num_blocks)]
    assert asked == expected
    assert counting.num_radial == 3 * (num_blocks - 2)
    asked.clear()
    latents(model, counting, part=(3, None))
    assert asked == expected[3 * num_blocks :]


@needs_pocket
def test_cross_attention_is_left_alone_and_all_is_as_before_when_a_run_ends(model):
    network = model.expert("high_noise")
    before = dict(network.attn_processors)
    with controller(model).on(network):
        changed = {name for name, processor in network.attn_processors.items() if processor is not before[name]}
        assert changed == {f"blocks.{i}.attn1.processor" for i in range(model.spec.num_blocks)}
        with pytest.raises(ModelError) as refused, controller(model).on(network):
            pass
        assert str(refused.value) == (
            "blocks.0: its self-attention is replaced already. Leave the other context first."
        )
    assert network.attn_processors == before
    radial = controller(model)
    radial.block_map = radial_map(geometry_of(model.spec, (1, 16, 3, 8, 8), radial.settings))  # of another clip
    with pytest.raises(ModelError, match=r"made for 3 latent frames of 16 tokens \(9 of 16, as the noise is\)"):
        latents(model, radial)
    assert network.attn_processors == before


def test_fused_projections_compute_the_same():
    spec = registry.spec_of_module(tiny.transformer())
    network = copy.deepcopy(tiny.transformer())
    shape = (2, 16, 3, 8, 8)
    torch.manual_seed(0)
    call = {
        "hidden_states": torch.randn(shape),
        "timestep": torch.tensor([500.0, 300.0]),
        "encoder_hidden_states": torch.randn(2, 512, tiny.TEXT_WIDTH),
        "return_dict": False,
    }
    radial = make_controller(spec, shape, 1, RadialSettings(dense=DenseRule(0, 0, 0)))
    radial.at_step(0)
    with radial.on(network), torch.no_grad():
        apart = network(**call)[0]
        for block in network.blocks:
            block.attn1.fuse_projections()
        torch.testing.assert_close(network(**call)[0], apart, atol=1e-5, rtol=0)
    assert radial.num_radial == 2 * spec.num_blocks


def test_gradients_reach_a_lora_beside_radial_attention():
    spec = registry.spec_of_module(tiny.transformer())
    network = copy.deepcopy(tiny.transformer())
    for block in network.blocks:
        block.attn1.to_q.weight.requires_grad_()
    shape = (1, 16, 5, 8, 8)
    radial = make_controller(spec, shape, 1, RadialSettings(dense=DenseRule(0, 0, 1)))
    radial.at_step(0)
    with radial.on(network):
        text = torch.randn(1, 512, tiny.TEXT_WIDTH)
        out = network(torch.randn(shape), torch.tensor([500.0]), text, return_dict=False)[0]
        out.square().mean().backward()
    assert all(block.attn1.to_q.weight.grad.abs().max() > 0 for block in network.blocks)
    assert radial.num_radial == 1


@needs_pocket
def test_a_controller_for_another_plan_is_refused(model):
    with pytest.raises(PlanError) as refused:
        latents(model, controller(model, num_steps=4))
    assert str(refused.value) == (
        "radial attention: made for a run of 4 steps, and the plan has step 6. Make the controller for the whole plan."
    )


def test_a_level_of_noise_says_which_step_it_is():
    radial = make_controller(registry.spec_of_module(tiny.transformer()), LATENTS, 3, RadialSettings(dense=ALL_RADIAL))
    radial.at_sigma(0.79, (1.0, 0.8, 0.5, 0.0))
    assert radial._step == 1


def test_a_family_that_nobody_has_told_how_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, TOY))
    with pytest.raises(ModelError) as refused:
        make_controller(registry.spec_named("toy-1"), (1, 4, 3, 4, 6), 6, RadialSettings())
    assert str(refused.value) == (
        "radial attention: its self-attention cannot be replaced in Toy One. Sample this model without it."
    )


def test_it_says_what_is_left_and_where_that_hardly_pays():
    spec = registry.spec_named("wan2.2-t2v-a14b")
    short, long = (make_controller(spec, (1, 16, frames, 60, 104), 40, RadialSettings()) for frames in (21, 41))
    assert short.notes() == (
        "radial attention: 45% of the pairs of 21 latent frames are kept, "
        "which leaves 57% of the run's arithmetic in self-attention and 77% of all of it",
        "radial attention: it hardly pays below about 41 latent frames, twice the usual length",
    )
    assert len(long.notes()) == 1
    few_steps = make_controller(spec, (1, 16, 21, 60, 104), 4, RadialSettings())
    assert few_steps.notes()[1] == (
        "radial attention: it will not pay here; what is left out is 6% of the run's arithmetic, and leaving it out "
        "costs time of its own"
    )


def test_in_720p_it_pays_at_the_usual_length_too():
    spec = registry.spec_named("hunyuan-video")
    shape = (1, 16, 30, 96, 160)  # 117 frames of the published script
    assert make_controller(spec, shape, 50, usual_radial(spec, 30)).notes() == (
        "radial attention: 30% of the pairs of 30 latent frames are kept, "
        "which leaves 48% of the run's arithmetic in self-attention and 56% of all of it",
    )


def test_the_cost_counts_what_stays_dense():
    spec = registry.spec_of_module(tiny.transformer())  # of 2 blocks
    radial = make_controller(spec, LATENTS, 4, RadialSettings(dense=DenseRule(1, 1, 1)))
    assert radial.dense.share == 0.75
    assert radial.cost == pytest.approx(0.75 + 0.25 * radial.block_map.cost)


def test_heads_too_narrow_for_the_kernels_are_refused_before_the_network_runs():
    from diffusers import WanTransformer3DModel

    shape = {"num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 16, "freq_dim": 16, "ffn_dim": 24}
    network = WanTransformer3DModel(**shape, num_layers=1, in_channels=16, out_channels=16)
    radial = make_controller(
        registry.spec_of_module(network), LATENTS, 6, RadialSettings(dense=ALL_RADIAL, executor="flex")
    )
    with pytest.raises(RequestError) as refused, radial.on(network):
        pass
    assert str(refused.value) == (
        "flex: heads of width 12 (at least 16, what its kernels take). "
        "Take the executor 'gathered', which needs no compiler."
    )
    assert type(network.blocks[0].attn1.processor).__name__ == "WanAttnProcessor"
