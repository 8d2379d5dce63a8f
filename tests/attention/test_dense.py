"""What stays dense: numbers and shares of steps and blocks, and the step that a noise level belongs to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.attention.dense import DenseRule, first_step_of, step_at
from lora_core.errors import PlanError
from lora_core.plan.sigmas import flow_sigmas


def test_first_and_last_steps_and_first_blocks_are_dense_and_nothing_else():
    parts = DenseRule(first_steps=2, last_steps=1, first_blocks=1).of(6, 3)
    dense = [[parts.is_dense(step, block) for block in range(3)] for step in range(6)]
    radial = [True, False, False]
    assert dense == [[True] * 3, [True] * 3, radial, radial, radial, [True] * 3]
    assert parts.share == pytest.approx(sum(map(sum, dense)) / 18)


@pytest.mark.parametrize(("num_steps", "first"), [(50, 12), (40, 10), (8, 2), (6, 1), (4, 1)])
def test_a_quarter_is_what_the_published_scripts_count_by_hand(num_steps, first):
    """12 of 50, 2 of 8, 1 of 4; for 40 they say 11."""
    assert DenseRule(first_steps=0.25).of(num_steps, 40).first_steps == first


def test_nothing_is_dense_where_nothing_is_asked_to_be():
    parts = DenseRule(0, 0, 0).of(4, 2)
    assert not any(parts.is_dense(step, block) for step in range(4) for block in range(2))
    assert DenseRule(0.0, 0.0, 0.0).of(4, 2).share == parts.share == 0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ((7, 0, 0), "first_steps: 7 is out of range (0 to 6). Choose a number in that range."),
        ((0, 9, 0), "last_steps: 9 is out of range (0 to 6). Choose a number in that range."),
        ((0, 0, 41), "first_blocks: 41 is out of range (0 to 40). Choose a number in that range."),
        (
            (4, 2, 0),
            "radial attention: 4 first and 2 last steps of 6 stay dense, which leaves none. "
            "Take more steps, or let fewer be dense.",
        ),
        ((0, 0, 1.0), "first_blocks: all 40 blocks stay dense (fewer than 40). Let fewer blocks stay dense."),
    ],
)
def test_more_dense_than_there_is_or_nothing_else_is_refused(rule, message):
    with pytest.raises(PlanError) as refused:
        DenseRule(*rule).of(6, 40)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "first_steps: -1 is out of range (at least 0). Choose a number in that range."),
        (
            1.5,
            "first_steps: 1.5 is no share (0.0 to 1.0, or a whole number of them). "
            "Give 2 for two of them, 0.25 for a quarter of all.",
        ),
        (True, "first_steps: True is not a whole number (at least 0). Give a whole number."),
        (float("nan"), "first_steps: nan is not finite (a finite real number). Give a finite number."),
    ],
)
def test_a_number_or_share_out_of_range_is_refused(value, message):
    with pytest.raises(PlanError) as refused:
        DenseRule(first_steps=value)
    assert str(refused.value) == message


@given(st.integers(1, 60), st.floats(1, 12), st.data())
def test_a_noise_level_tells_its_step_of_the_whole_run(num_steps, shift, data):
    sigmas = flow_sigmas(num_steps, shift)
    step = data.draw(st.integers(0, num_steps - 1))
    assert step_at(sigmas[step], sigmas) == step
    rounded = sigmas[step] * (1 + data.draw(st.floats(-1, 1)) * 2**-11)  # half precision
    gap = sigmas[step] - sigmas[step + 1]
    assert step_at(rounded, sigmas) == step or gap < sigmas[step] / 2**10


def test_a_level_between_two_steps_belongs_to_the_one_that_comes_down():
    assert [step_at(sigma, (1.0, 0.8, 0.5, 0.0)) for sigma in (1.0, 0.9, 0.8, 0.6, 0.5, 0.2)] == [0, 0, 1, 1, 2, 2]


@given(st.integers(1, 40), st.floats(1, 12), st.data())
def test_a_part_of_a_run_finds_its_place(num_steps, shift, data):
    sigmas = flow_sigmas(num_steps, shift)
    first = data.draw(st.integers(0, num_steps - 1))
    last = data.draw(st.integers(first + 1, num_steps))
    assert first_step_of(sigmas[first : last + 1], sigmas) == first


def test_a_part_of_another_scheduler_is_counted_from_the_end_that_it_reaches():
    whole = flow_sigmas(6, 5.0)
    assert [first_step_of(part, whole) for part in ((1.0, 0.5), (0.9, 0.1, 0.0), (0.99, 0.3, 0.2, 0.1))] == [0, 4, 0]
    with pytest.raises(PlanError) as refused:
        first_step_of(flow_sigmas(8, 5.0), whole)
    assert str(refused.value) == (
        "steps: 8 steps are sampled of a run of 6 (the steps of all samplers together). "
        "Give that many, or 0 where one sampler does the whole run."
    )
