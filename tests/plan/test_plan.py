import dataclasses
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loading import planned, routed

from lora_core.deltas import Lora
from lora_core.errors import PlanError
from lora_core.families.wan.spec import wan_spec
from lora_core.files.weights import LoraWeights
from lora_core.plan.plan import WIDTH
from lora_core.plan.planning import make_plan
from lora_core.plan.route import Route
from lora_core.plan.sigmas import flow_sigmas
from lora_core.stack.stack import LoraStack

POCKET = wan_spec("wan-pocket")
T2V = dataclasses.replace(
    POCKET, name="wan2.2-t2v-a14b", title="Wan 2.2 T2V A14B", settings_source="Wan's own configuration files"
)
I2V = dataclasses.replace(T2V, name="wan2.2-i2v-a14b", title="Wan 2.2 I2V A14B", boundary=0.9)
SINGLE = dataclasses.replace(T2V, name="wan2.1-t2v-14b", title="Wan 2.1 T2V 14B", boundary=None)


def lora(name="made", expert=None, kind=""):
    deltas = {"blocks.0.self_attn.q": Lora(torch.ones(2, 128), torch.ones(128, 2))}
    return LoraWeights(None, name, deltas, expert=expert, metadata={"kind": kind} if kind else {})


@pytest.fixture(scope="module")
def stack():
    """A pair of speed files, a style that fades out on both experts, and a motion on the high expert alone."""
    return (
        LoraStack()
        .add(lora("h", "high_noise", "speed"), low_noise=lora("l", "low_noise", "speed"), name="speed")
        .add(lora("style", None, "style"), 0.8, "both", schedule="fade_out")
        .add(lora("orbit", "high_noise", "motion"), 0.5)
    )


def rules(plan):
    return {advice.rule for advice in plan.plan_advice}


# ---------------------------------------------------------------------------------------------- steps


def test_the_default_is_six_steps_at_shift_five_three_for_each_expert():
    for spec in (T2V, I2V):
        plan = planned(LoraStack(), spec)
        assert plan.sigmas == flow_sigmas(6, 5)
        assert [step.expert for step in plan.steps] == ["high_noise"] * 3 + ["low_noise"] * 3
        assert {step.cfg for step in plan.steps} == {1.0}


@pytest.mark.parametrize(("name", "value"), [("num_steps", 8), ("shift", 3.0), ("denoise", 0.5)])
def test_what_own_noise_levels_leave_no_use_for_is_refused_beside_them(name, value):
    with pytest.raises(PlanError) as error:
        planned(LoraStack(), T2V, sigmas=[1, 0.5, 0], **{name: value})
    assert str(error.value) == (
        f"{name}: {value!r} would do nothing beside sigmas, which are all the noise levels there are. "
        "Give one of the two."
    )


def test_every_step_knows_where_it_starts_and_ends_and_what_the_network_is_told():
    plan = planned(LoraStack(), T2V, num_steps=4)
    assert [(step.index, step.sigma, step.sigma_next) for step in plan.steps][1] == (1, 0.9375, 5 / 6)
    assert [1000 * step.sigma for step in plan.steps] == pytest.approx([1000, 937.5, 833.3333, 625])


def test_strengths_are_those_of_the_steps_expert_at_its_noise_level(stack):
    plan = planned(stack, T2V)
    assert plan.names == ("speed", "style", "orbit")
    assert plan.steps[0].strengths == pytest.approx((1, 0.8, 0.5))
    assert plan.steps[3].strengths == pytest.approx((1, 0.8 * 2 / 3))
    assert plan.strengths_of("orbit") == (0.5, 0.5, 0.5, None, None, None)
    assert plan.strengths_of("style") == pytest.approx([0.8, 0.7385, 0.6545, 0.5333, 0.3429, 0], abs=1e-4)


def test_step_fractions_are_resolved_with_the_plans_own_sigmas():
    stack = LoraStack().add(lora("a"), schedule="fade_out@steps")
    for sigmas in (None, [1, 0.99, 0.5, 0.4, 0.3, 0.01, 0]):
        plan = planned(stack, T2V, sigmas=sigmas)
        assert plan.strengths_of("a") == pytest.approx([1 - i / 6 for i in range(6)])


def test_the_strength_at_a_noise_level_does_not_depend_on_the_step_count():
    stack = LoraStack().add(lora("a"), schedule="fade_out")
    few, many = (planned(stack, T2V, num_steps=count) for count in (6, 12))
    assert few.strengths_of("a") == many.strengths_of("a")[::2]


def test_a_cross_fade_adds_up_to_one_at_every_step():
    stack = LoraStack().add(lora("a")).add(lora("b")).blend("a", "b", "fade_out")
    plan = planned(stack, T2V)
    assert [sum(step.strengths) for step in plan.steps] == pytest.approx([1] * 6)


def test_cfg_may_differ_between_the_experts():
    plan = planned(LoraStack(), T2V, cfg=(3.5, 1))
    assert [step.cfg for step in plan.steps] == [3.5, 3.5, 3.5, 1, 1, 1]


def test_sigmas_of_ones_own_take_the_place_of_steps_and_shift():
    plan = planned(LoraStack(), T2V, sigmas=[1, 0.9, 0.8, 0])
    assert (plan.num_steps, plan.shift, plan.sigmas) == (3, None, (1, 0.9, 0.8, 0))


def test_the_boundary_can_be_moved_or_taken_away():
    experts = [step.expert for step in planned(LoraStack(), T2V, boundary=0.6).steps]
    assert experts.count("high_noise") == 5
    assert {step.expert for step in planned(LoraStack(), T2V, boundary=None).steps} == {"low_noise"}


def test_one_expert_does_every_step_of_a_single_network(stack):
    plan = planned(stack, SINGLE)
    assert plan.boundary is None
    assert {step.expert for step in plan.steps} == {"low_noise"}
    assert plan.strengths_of("orbit") == (0.5,) * 6


def test_a_route_is_taken_as_it_is(stack):
    acting = routed(stack, T2V)
    assert make_plan(acting, T2V).route is acting


def test_a_picture_to_start_from_leaves_the_first_steps_out():
    plan = planned(LoraStack(), T2V, num_steps=3, denoise=0.5)
    assert plan.sigmas == flow_sigmas(6, 5)[3:]


def test_a_part_of_a_plan_leaves_noise_over():
    plan = planned(LoraStack(), T2V)
    first, second = plan.part(0, 4), plan.part(4)
    assert first.sigmas[-1] == second.sigmas[0] == plan.sigmas[4]
    assert [step.index for step in second.steps] == [4, 5]
    assert second.table().count("\n") >= 3
    with pytest.raises(PlanError, match="none from 6"):
        plan.part(6)


@given(st.integers(1, 40), st.floats(0.3, 12), st.sampled_from([T2V, I2V, SINGLE]))
def test_a_plan_follows_its_sigmas_and_the_boundary(num_steps, shift, spec):
    plan = planned(LoraStack(), spec, num_steps=num_steps, shift=shift)
    assert plan.sigmas == flow_sigmas(num_steps, shift)
    for step in plan.steps:
        is_high = spec.boundary is not None and step.sigma >= spec.boundary
        assert step.expert == ("high_noise" if is_high else "low_noise")


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("boundary", [0.1, 0.4])
def test_an_expert_without_a_step_is_refused_while_loras_should_act_on_it(stack, boundary):
    with pytest.raises(
        PlanError,
        match=rf"low_noise expert: it gets no step, but speed, style should act on it \(no noise level is below "
        rf"{boundary}; they run from 1 to 0\.5\)\. Move the boundary, change the steps, or route these LoRAs",
    ):
        planned(stack, T2V, boundary=boundary)
    assert planned(LoraStack(), T2V, boundary=boundary).num_steps == 6


def test_one_step_has_one_noise_level(stack):
    with pytest.raises(PlanError, match=r"no noise level is below 0\.875; the only one is 1\)"):
        planned(stack, T2V, num_steps=1)


def test_advice_that_was_told_elsewhere_is_left_out_of_the_table(stack):
    plan = planned(stack, T2V, cfg=3.5)
    rules = {advice.rule for advice in plan.advice}
    assert "cfg-with-speed" in rules
    assert "[cfg-with-speed]" in plan.table()
    assert "[cfg-with-speed]" not in plan.table(without={"cfg-with-speed"})


def test_the_high_expert_without_a_step_is_refused_too(stack):
    with pytest.raises(
        PlanError, match=r"high_noise expert: it gets no step, but speed, style, orbit .*at or above 0\.875"
    ):
        planned(stack, T2V, sigmas=[0.8, 0.4, 0])
    with pytest.raises(PlanError, match="the model has one expert"):
        planned(stack, T2V, boundary=None)


def test_a_run_from_a_picture_may_leave_the_high_half_of_a_pair_idle(stack):
    pairs = stack.without("orbit")
    plan = planned(pairs, T2V, denoise=0.5)
    assert {step.expert for step in plan.steps} == {"low_noise"}
    (advice,) = [advice for advice in plan.plan_advice if advice.rule == "idle-half"]
    assert advice.text == (
        "the run starts at sigma 0.833, so the high-noise half of speed, style has no step. "
        "Start at more noise if it should act"
    )
    with pytest.raises(PlanError, match="it gets no step, but orbit should act on it"):
        planned(stack, T2V, denoise=0.5)


def test_a_lora_of_strength_zero_needs_no_step():
    stack = LoraStack().add(lora("a", "low_noise"), 0)
    assert planned(stack, T2V, boundary=0.1).num_steps == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "steps: 0 steps"),
        ({"num_steps": -3}, "steps: -3 steps"),
        ({"shift": 0}, "shift: 0 is not positive"),
        ({"shift": float("nan")}, "shift: nan is not finite"),
        ({"boundary": 0.0}, r"boundary: 0 is outside \(0, 1\)"),
        ({"boundary": 1}, "boundary: 1 is outside"),
        ({"boundary": 875}, r"Divide a timestep by 1000: 0\.875"),
        ({"boundary": float("nan")}, "boundary: nan is not finite"),
        ({"boundary": "high"}, "boundary: 'high' is not a number"),
        ({"cfg": -1}, "cfg: -1 is negative"),
        ({"cfg": float("nan")}, "cfg: nan is not finite"),
        ({"cfg": (1, 2, 3)}, "cfg: 3 values"),
        ({"cfg": "1"}, "cfg: '1' is not a number"),
        ({"sigmas": [1, 0.5]}, r"ends at 0\.5"),
        ({"denoise": 0}, "denoise: 0 is not positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(PlanError, match=message):
        planned(LoraStack(), T2V, **settings)


def test_a_boundary_for_a_model_of_one_expert_is_refused():
    with pytest.raises(
        PlanError, match=r"0\.9 for Wan 2\.1 T2V 14B, which has one expert\. Leave the boundary at 'auto'"
    ):
        planned(LoraStack(), SINGLE, boundary=0.9)


# ---------------------------------------------------------------------------------------------- advice


def test_a_step_near_the_boundary_is_noted(stack):
    plan = planned(stack, I2V)
    (advice,) = [advice for advice in plan.plan_advice if advice.rule == "near-boundary"]
    assert (
        advice.text == "step 3 at sigma 0.9091 lies within 0.01 of the boundary 0.9 and went to the high_noise expert"
        ". Move the boundary to give it to the other one"
    )
    assert "near-boundary" not in rules(planned(stack, T2V))


def test_a_run_of_many_steps_names_only_the_one_nearest_to_the_boundary() -> None:
    plan = planned(LoraStack(), T2V, num_steps=1000)
    assert [advice.rule for advice in plan.plan_advice].count("near-boundary") == 1


def test_three_and_three_at_shift_eight_is_told(stack):
    """The split in the wild that hands sigma .889 to T2V's low expert."""
    plan = planned(stack, T2V, shift=8, boundary=0.9)
    (advice,) = [advice for advice in plan.plan_advice if advice.rule == "expert-out-of-range"]
    assert advice.text.startswith("boundary 0.9 hands the low_noise expert step 4 (0.889), above the 0.875")
    assert rules(planned(stack, T2V, shift=8)) == {"shift-with-speed"}
    assert "expert-out-of-range" not in rules(planned(stack, I2V, shift=8))


def test_a_boundary_too_low_is_told_for_the_high_expert():
    plan = planned(LoraStack(), T2V, boundary=0.8)
    assert "hands the high_noise expert step 4 (0.833), below the 0.875" in "\n".join(plan.notes)


def test_cfg_with_a_speed_lora_is_told_on_the_expert_it_acts_on(stack):
    assert "cfg-with-speed" in rules(planned(stack, T2V, cfg=3.5))
    assert "cfg-with-speed" not in rules(planned(stack, T2V))
    low_only = LoraStack().add(lora("s", "low_noise", "speed"))
    assert "cfg-with-speed" not in rules(planned(low_only, T2V, cfg=(3.5, 1)))


@pytest.mark.parametrize("spec", [T2V, POCKET], ids=lambda spec: spec.name)
def test_few_steps_without_a_speed_lora_are_told_where_a_model_wants_many(stack, spec):
    assert "few-steps-without-speed" in rules(planned(LoraStack(), spec))
    for plan in (planned(stack, spec), planned(LoraStack(), spec, num_steps=20)):
        assert "few-steps-without-speed" not in rules(plan)
    unknown = dataclasses.replace(spec, settings_source="")
    assert "few-steps-without-speed" not in rules(planned(LoraStack(), unknown))


def test_a_schedule_that_is_zero_at_every_step_is_told():
    stack = LoraStack().add(lora("a", "low_noise"), schedule="hold:1=0,0.3=1")
    assert "never-acts" in rules(planned(stack, T2V))
    assert "never-acts" not in rules(planned(stack, T2V, num_steps=30))


def test_advice_of_the_stack_comes_along(stack):
    plan = planned(stack, SINGLE)
    assert "half-of-pair" in {advice.rule for advice in plan.advice}
    assert len(plan.notes) == len(plan.advice)


# ---------------------------------------------------------------------------------------------- views


def test_the_table_shows_every_step_and_strength(stack):
    lines = planned(stack, T2V).table().splitlines()
    assert lines[0] == "Wan 2.2 T2V A14B: 6 steps, shift 5, boundary 0.875"
    assert lines[2].split() == ["step", "sigma", "expert", "cfg", "speed", "style", "orbit"]
    assert lines[6].split() == ["4", "0.83333", "low", "1", "1.000", "0.533", "-"]


@pytest.mark.parametrize("num_loras", [0, 1, 5, 13, 40])
def test_the_table_fits_a_terminal_however_many_loras_there_are(num_loras):
    stack = LoraStack()
    for i in range(num_loras):
        stack = stack.add(lora("a", "both"), 0.1, name=f"wan2.2_t2v_a_rather_long_file_name_{i}")
    text = planned(stack, T2V).table()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(name in text for name in planned(stack, T2V).names)


def test_a_plan_becomes_plain_data_and_back_to_the_same_text(stack):
    record = planned(stack, T2V).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["loras"][1]["schedule"] == "fade_out"
    assert [step["expert"] for step in record["steps"]].count("low_noise") == 3


def test_a_plan_says_in_one_line_that_it_was_made(stack, caplog):
    with caplog.at_level(logging.INFO, "lora_core.plan.planning"):
        planned(stack, T2V)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "lora_core.plan.planning"]
    assert line == "plan for Wan 2.2 T2V A14B: 6 steps (3 high_noise, 3 low_noise), 3 LoRAs"


def test_a_plan_cannot_be_changed(stack):
    plan = planned(stack, T2V)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.shift = 8
    assert make_plan(Route(), T2V) == planned(LoraStack(), T2V)


def test_planning_loads_neither_matplotlib_nor_diffusers():
    code = "import sys, lora_core.plan; print({'matplotlib', 'diffusers', 'transformers', 'peft'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_strengths_have_one_row_per_step_even_without_loras():
    assert [step.strengths for step in planned(LoraStack(), T2V, num_steps=2).steps] == [(), ()]
    assert np.isfinite(planned(LoraStack(), T2V).sigmas).all()
