"""The walk along a plan: which network sees what, with which strengths, and what is left when it stops half-way."""

from dataclasses import replace
from threading import RLock

import pytest
import tiny
import torch
from loading import planned
from torch import nn

from lora_core.apply.attachment import attach
from lora_core.deltas import Lora
from lora_core.errors import PlanError, RequestError
from lora_core.families.base import ModelSpec
from lora_core.families.condition import Condition
from lora_core.families.registry import spec_of_module
from lora_core.families.wan.spec import wan_spec
from lora_core.files.weights import LoraWeights
from lora_core.sampling.noise import NoiseStream, draw_noise
from lora_core.sampling.sample import history_resets, sample
from lora_core.sampling.solvers import SOLVERS
from lora_core.stack.schedule import StrengthSchedule
from lora_core.stack.stack import LoraStack

SHAPE = (1, 16, 3, 4, 4)
POCKET = wan_spec("wan-pocket")
POSITIVE, NEGATIVE = torch.full((1, 512, 8), 1.0), torch.full((1, 512, 8), -1.0)
TEXT = Condition(POSITIVE, NEGATIVE)


class Experts:
    """Hand out networks and note who was asked for."""

    def __init__(self, high: nn.Module, low: nn.Module, spec: ModelSpec = POCKET) -> None:
        self.networks = {"high_noise": high, "low_noise": low}
        self.spec, self.dtype, self.device = spec, torch.float32, torch.device("cpu")
        self.asked, self.lock = [], RLock()

    def expert(self, name):
        self.asked.append(name)
        return self.networks[name]

    def normalise(self, latents):
        return (latents - 3) / 2

    def denormalise(self, latents):
        return latents * 2 + 3


class Spy(nn.Module):
    """Note every call, and predict a velocity that depends on all that was given."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.calls = []

    def forward(self, hidden_states, timestep, encoder_hidden_states, encoder_hidden_states_image, return_dict):
        self.calls.append((hidden_states, timestep, encoder_hidden_states))
        text = encoder_hidden_states.mean()
        return (torch.sin(self.slope * hidden_states) + text * hidden_states.mean() + timestep.flatten()[0] / 1000,)


def spies():
    return Experts(Spy(2.0), Spy(-1.5))


def plan_of(*, stack=None, spec=POCKET, **settings):
    return planned(stack or LoraStack(), spec, **settings)


def noise(seed=0):
    return draw_noise(SHAPE, seed)


def test_the_networks_get_unrounded_timesteps_each_in_its_own_range():
    experts, plan = spies(), plan_of(num_steps=6)
    sample(experts, plan, noise(), TEXT)
    seen = {name: [float(t) for _, t, _ in network.calls] for name, network in experts.networks.items()}
    expected = [1000, 961.538461, 909.090909, 833.333333, 714.285714, 500]
    assert seen["high_noise"] == pytest.approx(expected[:3], abs=1e-3)
    assert seen["low_noise"] == pytest.approx(expected[3:], abs=1e-3)
    assert all(t.dtype == torch.float32 for network in experts.networks.values() for _, t, _ in network.calls)
    assert experts.asked == ["high_noise", "low_noise"]


@pytest.mark.parametrize(("cfg", "num_calls"), [(1.0, (3, 3)), (4.0, (6, 6)), ((3.5, 1.0), (6, 3)), ((1, 0.5), (3, 6))])
def test_guidance_one_costs_one_forward_pass_and_any_other_two(cfg, num_calls):
    experts = spies()
    sample(experts, plan_of(num_steps=6, cfg=cfg), noise(), TEXT)
    assert tuple(len(network.calls) for network in experts.networks.values()) == num_calls


def test_guidance_one_needs_no_negative_prompt_and_never_reads_one():
    plan = plan_of(num_steps=6)
    without = sample(spies(), plan, noise(), Condition(POSITIVE))
    assert torch.equal(without, sample(spies(), plan, noise(), TEXT))


def test_a_walk_is_a_plain_guided_euler_loop():
    experts, plan = spies(), plan_of(num_steps=6, cfg=(4.0, 3.0))
    x = noise().double()
    for step in plan.steps:
        network = experts.networks[step.expert]
        inputs = {"hidden_states": x, "timestep": torch.tensor([1000 * step.sigma]), "return_dict": False}
        v, u = (
            network(**inputs, encoder_hidden_states=text.double(), encoder_hidden_states_image=None)[0]
            for text in (POSITIVE, NEGATIVE)
        )
        x = x + (step.sigma_next - step.sigma) * (u + step.cfg * (v - u))
    found = sample(experts, plan, noise(), TEXT)
    assert found.dtype == torch.float32
    assert (found.double() - experts.denormalise(x)).abs().max() < 1e-4


def test_the_callback_sees_every_step_and_its_prediction_in_raw_latents():
    told = []
    found = sample(spies(), plan_of(num_steps=4), noise(), TEXT, callback=lambda *args: told.append(args))
    assert [(step, num_steps) for step, num_steps, _ in told] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert all(x0.shape == SHAPE for _, _, x0 in told)
    assert (told[-1][2] - found).abs().max() < 1e-5  # the last step ends on its own prediction


def test_start_latents_are_mixed_with_noise_as_the_first_sigma_says():
    experts, plan = spies(), plan_of(sigmas=(0.8, 0.4, 0.0))
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    sample(experts, plan, noise(), TEXT, start=start)
    hidden = experts.networks["low_noise"].calls[0][0]
    assert (hidden - (0.8 * noise() + 0.2 * experts.normalise(start))).abs().max() < 1e-6


def test_all_zero_start_latents_mean_none_as_in_comfyui():
    plan = plan_of(sigmas=(0.8, 0.4, 0.0))
    none = sample(spies(), plan, noise(), TEXT)
    assert torch.equal(none, sample(spies(), plan, noise(), TEXT, start=torch.zeros(SHAPE)))


def test_a_walk_in_two_parts_hands_its_noise_on_as_comfyui_does():
    plan = plan_of(num_steps=6)
    told = []
    half = sample(spies(), plan.part(0, 3), noise(), TEXT)
    whole = sample(
        spies(), plan.part(3), torch.zeros(SHAPE), TEXT, start=half, callback=lambda *args: told.append(args)
    )
    assert (whole - sample(spies(), plan, noise(), TEXT)).abs().max() < 1e-4
    assert [(step, num_steps) for step, num_steps, _ in told] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_starts_anew_where_the_expert_changes(solver):
    experts, plan = spies(), plan_of(num_steps=8)
    x, fresh = noise(), NoiseStream(SHAPE, 5)
    sigmas = plan.sigmas
    for network, span in ((experts.networks["high_noise"], sigmas[:5]), (experts.networks["low_noise"], sigmas[4:])):

        def velocity(x, i, network=network, span=span):
            return network(x, torch.tensor([1000 * span[i]]), POSITIVE, None, False)[0]

        x = SOLVERS[solver].run(velocity, x, span, lambda i, x0: None, fresh)
    found = sample(experts, plan, noise(), TEXT, solver=solver, seed=5)
    assert (found - experts.denormalise(x)).abs().max() < 1e-5
    assert history_resets(plan, solver) == ([4] if solver in ("unipc", "dpmpp_2m") else [])


def test_the_noise_of_lcm_follows_the_seed():
    plan = plan_of(num_steps=4)
    first, again, other = (sample(spies(), plan, noise(), TEXT, solver="lcm", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_known_frames_stay_as_they_are_and_their_tokens_have_timestep_zero():
    spec = replace(POCKET, expand_timesteps=True)
    experts = Experts(Spy(2.0), Spy(-1.5), spec)
    known = torch.randn(1, 16, 1, 4, 4, generator=torch.Generator().manual_seed(4))
    predictions = []
    found = sample(
        experts,
        plan_of(num_steps=4, spec=spec),
        noise(),
        Condition(POSITIVE, known_frames=known),
        callback=lambda step, num_steps, x0: predictions.append(x0),
    )
    for latents in (found, *predictions):
        assert torch.equal(latents[:, :, :1], experts.denormalise(known))
    hidden, timestep, _ = experts.networks["high_noise"].calls[0]
    assert torch.equal(hidden[:, :, :1], known)
    assert timestep.tolist() == [[0.0] * 4 + [1000.0] * 8]


def test_what_does_not_fit_together_is_refused():
    plan = plan_of(num_steps=4, cfg=3.0)
    with pytest.raises(PlanError) as error:
        sample(spies(), plan, noise(), Condition(POSITIVE))
    expected = "Embed a negative prompt, if only an empty one, or use cfg 1."
    assert str(error.value) == f"cfg: step 0 has cfg 3 and no negative prompt is embedded. {expected}"
    with pytest.raises(RequestError, match=r"start latents: their shape is \(1, 16, 1, 4, 4\)"):
        sample(spies(), plan, noise(), TEXT, start=torch.zeros(1, 16, 1, 4, 4))
    with pytest.raises(RequestError, match=r"solver: unknown value 'heun' \(one of euler, unipc, dpmpp_2m, lcm\)"):
        sample(spies(), plan, noise(), TEXT, solver="heun")


# ---------------------------------------------------------------- with LoRAs, on tiny Wan networks


@pytest.fixture(scope="module")
def wan():
    high, low = tiny.transformer(0), tiny.transformer(1)
    return Experts(high, low, replace(spec_of_module(high), boundary=0.875))


def text(seed):
    return torch.randn(1, 512, tiny.TEXT_WIDTH, generator=torch.Generator().manual_seed(seed))


WAN_TEXT = Condition(text(1), text(2))
TARGETS = ("blocks.0.self_attn.q", "blocks.1.ffn.0", "blocks.1.cross_attn.v")


def lora(spec, seed):
    """Make a LoRA of rank 4 on three targets, strong enough to see."""
    generator = torch.Generator().manual_seed(seed)
    deltas = {}
    for target in TARGETS:
        num_outputs, num_inputs = spec.shapes[target]
        down, up = (torch.randn(*size, generator=generator) for size in ((4, num_inputs), (num_outputs, 4)))
        deltas[target] = Lora(down * 0.1, up * 0.1)
    return LoraWeights(path=None, name=f"lora {seed}", deltas=deltas)


def stack_of(spec):
    """Stack one LoRA on both experts, one that fades on the high one, one on the low one."""
    stack = LoraStack().add(lora(spec, 1), 0.8, "both").add(lora(spec, 2), -0.5, "high_noise", schedule="fade_out")
    return stack.add(lora(spec, 3), 1.3, "low_noise")


def merged_reference(wan, plan):
    """Walk the plan with networks whose weights are merged anew at every step."""
    x = noise()
    for step in plan.steps:
        network = wan.networks[step.expert]
        routed = getattr(plan.route, step.expert)
        merged = {name: value.clone() for name, value in network.state_dict().items()}
        for strength, lora in zip(step.strengths, routed, strict=True):
            for target, delta in lora.deltas.items():
                path, parameter = wan.spec.parameter_path(target, network)
                merged[f"{path}.{parameter}"] += strength * delta.dense()
        inputs = {"hidden_states": x, "timestep": torch.tensor([1000 * step.sigma]), "return_dict": False}
        with torch.no_grad():
            v = torch.func.functional_call(network, merged, (), inputs | {"encoder_hidden_states": text(1)})[0]
        x = x + (step.sigma_next - step.sigma) * v
    return wan.denormalise(x)


def test_a_stack_with_schedules_acts_as_if_merged_anew_at_every_step(wan):
    plan = plan_of(stack=stack_of(wan.spec), spec=wan.spec, num_steps=6)
    assert len({step.strengths for step in plan.steps}) > 2
    found = sample(wan, plan, noise(), WAN_TEXT)
    assert (found - merged_reference(wan, plan)).abs().max() < 1e-4
    without = sample(wan, plan_of(spec=wan.spec, num_steps=6), noise(), WAN_TEXT)
    assert (found - without).abs().max() > 0.05


def test_a_stack_is_attached_once_per_expert_and_its_strengths_are_set_at_every_step(wan, monkeypatch):
    plan = plan_of(stack=stack_of(wan.spec), spec=wan.spec, num_steps=6)
    attached, strengths = [], []

    def spying(network, entries, spec, masks):
        attachment = attach(network, entries, spec, masks=masks)
        attached.append([entry.name for entry in entries])
        set_strengths = attachment.set_strengths
        attachment.set_strengths = lambda values: strengths.append(values) or set_strengths(values)
        return attachment

    monkeypatch.setattr("lora_core.sampling.sample.attach", spying)
    sample(wan, plan, noise(), WAN_TEXT)
    assert attached == [["lora 1", "lora 2"], ["lora 1", "lora 3"]]
    assert strengths == [step.strengths for step in plan.steps]


class Cancelled(Exception):
    """What a host raises to cancel."""


@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt])
@pytest.mark.parametrize("at", [0, 4])
def test_a_walk_that_is_stopped_leaves_the_networks_as_they_were(wan, stop, at):
    plan = plan_of(stack=stack_of(wan.spec), spec=wan.spec, num_steps=6)
    weights = {name: value.clone() for name, value in wan.networks["low_noise"].state_dict().items()}
    outputs = [tiny.run(network) for network in wan.networks.values()]

    def callback(step, num_steps, x0):
        if step == at:
            raise stop

    with pytest.raises(stop):
        sample(wan, plan, noise(), WAN_TEXT, callback=callback)
    assert all(torch.equal(a, tiny.run(network)) for a, network in zip(outputs, wan.networks.values(), strict=True))
    assert all(torch.equal(value, weights[name]) for name, value in wan.networks["low_noise"].state_dict().items())
    assert torch.isfinite(sample(wan, plan, noise(), WAN_TEXT)).all()  # and another walk can begin


def test_strength_zero_is_bit_identical_to_no_lora(wan):
    zero = LoraStack().add(lora(wan.spec, 1), 0.0, "both")
    found = sample(wan, plan_of(stack=zero, spec=wan.spec, num_steps=3), noise(), WAN_TEXT)
    assert torch.equal(found, sample(wan, plan_of(spec=wan.spec, num_steps=3), noise(), WAN_TEXT))


def test_a_schedule_that_ends_switches_its_lora_off_for_the_rest(wan):
    schedule = StrengthSchedule(((1.0, 1.0), (0.95, 0.0)), interpolation="hold")
    stack = LoraStack().add(lora(wan.spec, 1), 1.0, "high_noise", schedule=schedule)
    plan = plan_of(stack=stack, spec=wan.spec, num_steps=6)
    assert [step.strengths for step in plan.steps] == [(1.0,), (1.0,), (0.0,), (), (), ()]
    assert (sample(wan, plan, noise(), WAN_TEXT) - merged_reference(wan, plan)).abs().max() < 1e-4
