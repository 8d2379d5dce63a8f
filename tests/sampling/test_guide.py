"""The guide at work: the identities of Delta Sampling, and nothing left behind."""

from dataclasses import replace
from threading import RLock

import pytest
import tiny
import torch

from lora_core import GuideNetworks, LoraStack, LoraWeights, RunSettings, SteerSettings, load_stack, make_plan, steered
from lora_core.deltas import Lora
from lora_core.errors import ModelError, PlanError
from lora_core.families.condition import Condition
from lora_core.families.registry import spec_of_module
from lora_core.sampling.noise import draw_noise
from lora_core.sampling.sample import sample

SHAPE = (1, 16, 3, 4, 4)
TARGETS = ("blocks.0.self_attn.q", "blocks.1.ffn.0", "blocks.1.cross_attn.v")


class Experts:
    """Two tiny networks that compute in float64, so that identities are told from rounding."""

    def __init__(self, *seeds, scale=2.0):
        self.networks = dict(zip(("high_noise", "low_noise"), map(network, seeds), strict=True))
        self.spec = replace(spec_of_module(self.networks["low_noise"]), boundary=0.875, text_width=tiny.TEXT_WIDTH)
        self.dtype, self.device, self.lock, self.scale = torch.float64, torch.device("cpu"), RLock(), scale
        self.num_calls = 0

    def expert(self, name):
        self.num_calls += 1
        return self.networks[name]

    def normalise(self, latents):
        return latents / self.scale

    def denormalise(self, latents):
        return latents * self.scale


def network(seed):
    import copy

    return copy.deepcopy(tiny.transformer(seed)).double()


def text(seed):
    return torch.randn(1, 512, tiny.TEXT_WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TEXT = Condition(text(1), text(2))


def lora(spec, seed, applies_to="both"):
    generator = torch.Generator().manual_seed(seed)
    deltas = {}
    for target in TARGETS:
        num_outputs, num_inputs = spec.shapes[target]
        down, up = (torch.randn(*size, generator=generator) for size in ((4, num_inputs), (num_outputs, 4)))
        deltas[target] = Lora(down * 0.2, up * 0.2)
    weights = LoraWeights(path=None, name=f"lora {seed}", deltas=deltas)
    return load_stack(LoraStack().add(weights, 0.8, applies_to), spec)


def run(model, loaded=None, guide=None, settings=None, condition=TEXT, own=None, **plan):
    run_settings = RunSettings(**{"num_steps": 6, "cfg": (3.0, 1.0)} | plan)
    loaded = loaded or load_stack(LoraStack(), model.spec)
    planned = make_plan(loaded, model.spec, run_settings)
    beside = None
    if guide is not None:
        planned = steered(planned, model.spec, guide.spec, own, run_settings, SteerSettings(**settings or {}))
        beside = GuideNetworks(guide, condition)
    return sample(model, planned, draw_noise(SHAPE, 3), condition, guide=beside)


def test_a_model_that_guides_itself_with_lambda_one_is_the_model_with_the_lora():
    model, same = Experts(0, 1), Experts(0, 1)
    loaded = lora(model.spec, 5)
    direct = run(model, loaded)
    assert (direct - run(model)).abs().max() > 0.05
    assert (run(model, guide=same, own=loaded) - direct).abs().max() < 1e-6
    assert (run(model, guide=model, own=loaded) - direct).abs().max() < 1e-6  # the very same networks


def test_it_adds_to_what_the_large_model_s_own_loras_do():
    model, same = Experts(0, 1), Experts(0, 1)
    own, style = lora(model.spec, 5), lora(model.spec, 6, "low_noise")
    steered_too = run(model, style, guide=same, own=own)
    assert (steered_too - run(model, style)).abs().max() > 0.01
    assert (run(model, style, guide=same, own=own, settings={"strength": 0}) - run(model, style)).abs().max() == 0


def test_lambda_zero_is_bit_for_bit_the_large_model_and_never_runs_the_guide():
    model, small = Experts(0, 1), Experts(2, 3)
    loaded = lora(small.spec, 5)
    plain = run(model)
    assert torch.equal(run(model, guide=small, own=loaded, settings={"strength": 0}), plain)
    assert small.num_calls == 0
    only_first = run(model, guide=small, own=loaded, settings={"above": 0.99})
    assert not torch.equal(only_first, plain)
    assert small.num_calls == 2  # one step: to attach, and to run


def test_the_walk_is_delta_sampling_written_out():
    """x0 = x0_large + lambda (x0_guide with LoRA - x0_guide), each with its own guidance; arXiv 2512.03056."""
    model, small = Experts(0, 1), Experts(2, 3)
    loaded = lora(small.spec, 5)
    settings = SteerSettings(strength=0.6, schedule="fade_out", cfg=2.0)
    levels = RunSettings(num_steps=6, cfg=(3.0, 1.0))
    plan = steered(
        make_plan(load_stack(LoraStack(), model.spec), model.spec, levels),
        model.spec,
        small.spec,
        loaded,
        levels,
        settings,
    )
    x = draw_noise(SHAPE, 3)
    for step, strength in zip(plan.steps, plan.steering.strengths, strict=True):
        x0 = predicted(model, x, step, 3.0 if step.expert == "high_noise" else 1.0)
        x0 = x0 + strength * (predicted(small, x, step, 2.0, loaded) - predicted(small, x, step, 2.0))
        x = x + (step.sigma_next - step.sigma) / step.sigma * (x - x0)
    found = sample(model, plan, draw_noise(SHAPE, 3), TEXT, guide=GuideNetworks(small, TEXT))
    assert (found - model.denormalise(x)).abs().max() < 1e-5


def predicted(experts, x, step, cfg, loaded=None):
    """Return x0 as one network predicts it, its weights merged."""
    network = experts.networks[step.expert]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for target in TARGETS if loaded is not None else ():
        path, parameter = experts.spec.parameter_path(target, network)
        state[f"{path}.{parameter}"] += 0.8 * loaded.loras[0].weights.deltas[target].dense().double()
    inputs = {"hidden_states": x.double(), "timestep": torch.tensor([1000 * step.sigma]), "return_dict": False}
    with torch.no_grad():
        v, u = (
            torch.func.functional_call(network, state, (), inputs | {"encoder_hidden_states": text(i)})[0]
            for i in (1, 2)
        )
    return (x - step.sigma * (u + cfg * (v - u))).float()


def test_a_batch_of_clips_is_steered_clip_by_clip():
    model, small = Experts(0, 1), Experts(2, 3)
    loaded, levels = lora(small.spec, 5), RunSettings(num_steps=3)
    plan = make_plan(load_stack(LoraStack(), model.spec), model.spec, levels)
    plan = steered(plan, model.spec, small.spec, loaded, levels, SteerSettings())
    noise = torch.cat([draw_noise(SHAPE, 3), draw_noise(SHAPE, 4)])
    both = Condition(torch.cat([text(1), text(7)]))
    found = sample(model, plan, noise, both, guide=GuideNetworks(small, both))
    for i, seed in enumerate((1, 7)):
        alone = Condition(text(seed))
        expected = sample(model, plan, noise[i : i + 1], alone, guide=GuideNetworks(small, alone))
        assert (found[i] - expected[0]).abs().max() < 1e-5


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_a_walk_that_is_stopped_leaves_the_guide_as_it_was(stop):
    model, small = Experts(0, 1), Experts(2, 3)
    levels = RunSettings(num_steps=6)
    plan = make_plan(load_stack(LoraStack(), model.spec), model.spec, levels)
    plan = steered(plan, model.spec, small.spec, lora(small.spec, 5), levels, SteerSettings())
    before = run(small)

    def callback(step, num_steps, x0):
        if step == 4:
            raise stop

    with pytest.raises(stop):
        sample(model, plan, draw_noise(SHAPE, 3), TEXT, guide=GuideNetworks(small, TEXT), callback=callback)
    assert torch.equal(run(small), before)


def test_what_does_not_fit_together_is_refused():
    model, small = Experts(0, 1), Experts(2, 3)
    levels = RunSettings(num_steps=6)
    plain = make_plan(load_stack(LoraStack(), model.spec), model.spec, levels)
    plan = steered(plain, model.spec, small.spec, lora(small.spec, 5), levels, SteerSettings(cfg=2.0))
    guide, noise = GuideNetworks(small, TEXT), draw_noise(SHAPE, 3)
    with pytest.raises(PlanError, match="guide: the plan has one, and none is given"):
        sample(model, plan, noise, TEXT)
    with pytest.raises(PlanError, match="guide: there is one, and the plan knows of none"):
        sample(model, plain, noise, TEXT, guide=guide)
    with pytest.raises(PlanError, match="guide: its cfg is not 1 and no negative prompt is embedded"):
        sample(model, plan, noise, TEXT, guide=GuideNetworks(small, Condition(text(1))))
    with pytest.raises(ModelError, match=r"guide: .* scales its latents otherwise"):
        sample(model, plan, noise, TEXT, guide=GuideNetworks(Experts(2, 3, scale=3.0), TEXT))
