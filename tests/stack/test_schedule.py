import dataclasses
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import LoraCoreError, PlanError, StackError
from lora_core.plan.sigmas import flow_sigmas
from lora_core.stack.schedule import StrengthSchedule

SIGMAS = flow_sigmas(6, 5)
positions = st.floats(0, 1)
factors = st.floats(-10, 10)


@st.composite
def schedules(draw, axes=("sigma", "steps")):
    points = draw(st.lists(st.tuples(positions, factors), min_size=1, max_size=6, unique_by=lambda point: point[0]))
    return StrengthSchedule(tuple(points), draw(st.sampled_from(axes)), draw(st.sampled_from(["linear", "hold"])))


def test_a_constant_is_the_same_at_every_noise_level():
    assert {StrengthSchedule.constant(-0.3)(sigma) for sigma in SIGMAS} == {-0.3}


def test_fades_go_from_end_to_end_within_few_steps():
    fade = StrengthSchedule.fade_out()
    values = [fade(sigma) for sigma in SIGMAS[:-1]]
    assert values == pytest.approx([1, 0.9231, 0.8182, 0.6667, 0.4286, 0], abs=1e-4)
    assert fade(0.2) == 0
    assert [StrengthSchedule.fade_in()(sigma) for sigma in SIGMAS[:-1]] == pytest.approx([1 - v for v in values])


def test_a_linear_ramp_runs_between_the_sigmas_it_is_given():
    ramp = StrengthSchedule.linear(0, 2, 0.9, 0.4)
    assert [ramp(sigma) for sigma in (1, 0.9, 0.65, 0.4, 0)] == pytest.approx([0, 0, 1, 2, 2])


def test_keyframes_are_exact_at_their_sigmas_in_any_order():
    schedule = StrengthSchedule(((0.5, 1.0), (1.0, 0.2), (0.8, 0.7)))
    assert [schedule(sigma) for sigma in (1.0, 0.8, 0.5)] == [0.2, 0.7, 1.0]
    assert schedule == StrengthSchedule(((1.0, 0.2), (0.8, 0.7), (0.5, 1.0)))


def test_hold_jumps_where_its_keyframe_is_passed():
    schedule = StrengthSchedule.parse("hold:1=0,0.875=1")
    assert [schedule(sigma) for sigma in (1, 0.9, 0.875, 0.8, 0)] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("shift", [1, 5, 12])
@pytest.mark.parametrize("num_steps", [1, 4, 6, 30])
def test_a_fade_by_steps_is_even_over_the_steps_of_any_plan(num_steps, shift):
    sigmas = flow_sigmas(num_steps, shift)
    fade = StrengthSchedule.fade_out(axis="steps").over(sigmas)
    assert [fade(sigma) for sigma in sigmas] == pytest.approx([1 - i / num_steps for i in range(num_steps + 1)])


def test_hold_by_steps_gives_each_third_of_the_run_its_own_factor():
    schedule = StrengthSchedule.parse(f"hold@steps:0=0.9,{1 / 3}=0.8,{2 / 3}=0.7").over(SIGMAS)
    assert [schedule(sigma) for sigma in SIGMAS[:-1]] == [0.9, 0.9, 0.8, 0.8, 0.7, 0.7]


def test_step_fractions_between_two_steps_are_kept_exactly():
    schedule = StrengthSchedule.by_steps([(0, 0), (0.25, 1), (1, 0)]).over(SIGMAS)
    assert schedule((SIGMAS[1] + SIGMAS[2]) / 2) == pytest.approx(1)


def test_step_fractions_without_noise_levels_are_no_function_of_sigma():
    with pytest.raises(PlanError, match=r"counts steps .* Call schedule\.over\(plan\.sigmas\)"):
        StrengthSchedule.fade_out(axis="steps")(0.5)


def test_a_schedule_over_sigma_is_not_changed_by_a_plan():
    schedule = StrengthSchedule.fade_in()
    assert schedule.over(SIGMAS) is schedule


@given(schedules(), positions, st.integers(1, 40), st.floats(0.2, 20))
def test_factors_stay_within_the_keyframes(schedule, sigma, num_steps, shift):
    resolved = schedule.over(flow_sigmas(num_steps, shift))
    low, high = (extreme(factor for _, factor in schedule.keyframes) for extreme in (min, max))
    assert low <= resolved(sigma) <= high


@given(schedules(axes=("sigma",)), positions, st.integers(1, 40), st.integers(1, 40))
def test_a_schedule_over_sigma_survives_another_step_count(schedule, sigma, few, many):
    assert schedule.over(flow_sigmas(few, 5))(sigma) == schedule.over(flow_sigmas(many, 5))(sigma)


@given(schedules(axes=("sigma",)), positions)
def test_a_schedule_and_its_complement_add_to_one(schedule, sigma):
    assert schedule(sigma) + schedule.complement()(sigma) == pytest.approx(1)


@given(schedules())
def test_json_and_text_bring_back_the_same_schedule(schedule):
    assert StrengthSchedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule
    assert StrengthSchedule.parse(str(schedule)) == schedule
    assert StrengthSchedule.from_json(str(schedule)) == schedule


@given(schedules(), st.integers(2, 30))
def test_a_resolved_linear_schedule_is_continuous(schedule, num_steps):
    if schedule.interpolation == "hold":
        return
    sigmas = flow_sigmas(num_steps, 5)
    resolved = schedule.over(sigmas)
    for (position, factor), (other, _) in pairwise(resolved.keyframes):
        if position - other > 1e-6:
            step = (position - other) * 1e-9
            assert resolved(position - step) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0.8", StrengthSchedule.constant(0.8)),
        ("constant:0.8", StrengthSchedule.constant(0.8)),
        (" fade_out ", StrengthSchedule.fade_out()),
        ("fade_out:0.9:0.6", StrengthSchedule.fade_out(0.9, 0.6)),
        ("fade_in@steps", StrengthSchedule.by_steps([(0, 0), (1, 1)])),
        ("fade_out@steps:0.5:1", StrengthSchedule.by_steps([(0.5, 1), (1, 0)])),
        ("linear:0:1", StrengthSchedule.linear(0, 1)),
        ("linear:0.2:1:1:0.8", StrengthSchedule.linear(0.2, 1, 1, 0.8)),
        ("keyframes:1.0=0.2,0.5=1", StrengthSchedule(((1.0, 0.2), (0.5, 1.0)))),
        ("keyframes@steps:0=1,0.5=0.2", StrengthSchedule.by_steps([(0, 1), (0.5, 0.2)])),
        ("hold:1=0,0.9=1", StrengthSchedule(((1.0, 0.0), (0.9, 1.0)), interpolation="hold")),
    ],
)
def test_the_text_form_names_every_shape(text, same):
    assert StrengthSchedule.parse(text) == same


def test_text_is_as_short_as_can_be():
    for text in ("fade_out", "fade_in@steps", "linear:0.2:1", "constant:0.5", "keyframes@steps:0=1,0.5=0.2"):
        assert str(StrengthSchedule.parse(text)) == text


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("fadeout", r"schedule: unknown shape 'fadeout' in 'fadeout' \(nearest: 'fade_out'\)\."),
        ("", "schedule: unknown shape ''"),
        ("fade_out@sigmas", r"unknown axis 'sigmas' .*@steps"),
        ("linear:0", r"1 number\(s\) in 'linear:0' \(2 or 4 after the name\)"),
        ("linear:a:1", "'a' is not a number"),
        ("fade_out:0.5:0.9", r"a ramp runs from 0\.5 to 0\.9 \(from a higher sigma to a lower\)"),
        ("fade_out@steps:0.9:0.5", "from an earlier fraction to a later"),
        ("fade_out:1000:500", "sigma 1000 is outside 0 to 1"),
        ("keyframes:1,2", r"not readable \(position=factor, separated by commas\)"),
        ("keyframes:", "not readable"),
        ("keyframes:0.5=1,0.5=2", "two keyframes at 0.5"),
        ("constant:inf", "inf is not finite"),
        ("nan", "nan is not finite"),
        ({"keyframs": [[1, 1]]}, r"unknown key 'keyframs' \(nearest: 'keyframes'\)"),
        ({}, "keyframes None are no list"),
        ({"keyframes": []}, "0 keyframes"),
        ({"keyframes": [[1]]}, r"schedule keyframe 1: \[1\] is none \(a pair: position, factor\)"),
        ({"keyframes": [[1, True]]}, "True is not a number"),
        ({"keyframes": [[1, 1]], "axis": "step"}, r"schedule axis: unknown value 'step' \(nearest: 'steps'\)"),
        ({"keyframes": [[1, 1]], "interpolation": "cubic"}, "unknown value 'cubic'"),
        ([0.9, 0.8], "is no schedule"),
        (None, "None is no schedule"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(form, message):
    with pytest.raises(StackError, match=message):
        StrengthSchedule.from_json(form)


@given(st.text(max_size=30) | st.from_regex(r"(linear|hold|keyframes|fade_out)(@steps)?:[0-9=.,:-]{0,12}"))
def test_any_text_is_read_or_refused_in_the_projects_form(text):
    try:
        schedule = StrengthSchedule.parse(text)
    except LoraCoreError:
        return
    assert StrengthSchedule.parse(str(schedule)) == schedule


def test_a_schedule_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        StrengthSchedule.constant().axis = "steps"
    assert len({StrengthSchedule.fade_out(), StrengthSchedule.fade_out()}) == 1


def test_the_peak_is_the_factor_furthest_from_zero():
    assert StrengthSchedule.parse("keyframes:1=0.5,0.5=-2").peak == -2
