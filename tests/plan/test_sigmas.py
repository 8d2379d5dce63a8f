from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import PlanError
from lora_core.experts import expert_at
from lora_core.plan.sigmas import (
    MAX_STEPS,
    check_boundary,
    check_sigmas,
    flow_sigmas,
    parse_sigmas,
    split_by_boundary,
)

#: shift, steps, the published values (then 0), steps of the high expert at boundary .875 and .900.
SCHEDULES = [
    (5, 4, (1, 0.93750, 0.83333, 0.62500), 2, 2),
    (5, 6, (1, 0.96154, 0.90909, 0.83333, 0.71429, 0.50000), 3, 3),
    (5, 8, (1, 0.97222, 0.93750, 0.89286, 0.83333, 0.75, 0.625, 0.41667), 4, 3),
    (8, 4, (1, 0.96000, 0.88889, 0.72727), 3, 2),
    (8, 6, (1, 0.97561, 0.94118, 0.88889, 0.80000, 0.61538), 4, 3),
    (12, 4, (1, 0.97297, 0.92308, 0.80000), 3, 3),
    (12, 6, (1, 0.98361, 0.96000, 0.92308, 0.85714, 0.70588), 4, 4),
]
shifts = st.floats(0.05, 50)


@pytest.mark.parametrize(("shift", "num_steps", "published", "high_t2v", "high_i2v"), SCHEDULES)
def test_few_step_schedules_are_the_published_ones(shift, num_steps, published, high_t2v, high_i2v):
    sigmas = flow_sigmas(num_steps, shift)
    assert sigmas == pytest.approx((*published, 0), abs=5e-6)
    assert split_by_boundary(sigmas, 0.875).count("high_noise") == high_t2v
    assert split_by_boundary(sigmas, 0.900).count("high_noise") == high_i2v


def test_lightning_timesteps_are_its_authors():
    """The list given in ModelTC/LightX2V-Wan2.2-Lightning#3."""
    assert [1000 * sigma for sigma in flow_sigmas(4, 5)] == pytest.approx([1000, 937.5001, 833.3333, 625, 0], abs=1e-3)


def test_sigmas_are_the_exact_fractions_rounded_once():
    exact = [Fraction(1), Fraction(25, 26), Fraction(10, 11), Fraction(5, 6), Fraction(5, 7), Fraction(1, 2), 0]
    assert flow_sigmas(6, 5) == tuple(float(value) for value in exact)


@given(st.integers(1, 200), shifts)
def test_sigmas_start_at_one_fall_strictly_and_end_at_zero(num_steps, shift):
    sigmas = flow_sigmas(num_steps, shift)
    assert len(sigmas) == num_steps + 1
    assert (sigmas[0], sigmas[-1]) == (1.0, 0.0)
    assert all(high > low for high, low in pairwise(sigmas))


@given(st.integers(1, 50), st.integers(2, 5), shifts)
def test_a_finer_run_passes_the_noise_levels_of_a_coarser_one_to_the_bit(num_steps, times, shift):
    assert flow_sigmas(num_steps * times, shift)[::times] == flow_sigmas(num_steps, shift)


def test_denoise_keeps_the_last_steps_of_a_longer_run():
    assert flow_sigmas(6, 5, denoise=0.5) == flow_sigmas(12, 5)[6:]
    assert flow_sigmas(6, 5, denoise=1) == flow_sigmas(6, 5)


@pytest.mark.parametrize("num_steps", [0, -1, MAX_STEPS + 1, 6.0, True, "6", None])
def test_a_number_of_steps_that_is_no_count_is_refused(num_steps):
    with pytest.raises(PlanError, match="steps"):
        flow_sigmas(num_steps, 5)


@pytest.mark.parametrize("shift", [0, -5, float("nan"), float("inf"), "5", 10**400])
def test_a_shift_that_is_no_positive_number_is_refused(shift):
    with pytest.raises(PlanError, match="shift"):
        flow_sigmas(6, shift)


@pytest.mark.parametrize("shift", [1e300, 5e-324])
def test_a_shift_without_distinct_levels_is_refused(shift):
    with pytest.raises(PlanError, match="no distinct noise levels"):
        flow_sigmas(6, shift)


@pytest.mark.parametrize("denoise", [0, -0.5, 1.5, float("nan"), 1e-9])
def test_a_denoise_outside_its_range_is_refused(denoise):
    with pytest.raises(PlanError, match="denoise"):
        flow_sigmas(6, 5, denoise=denoise)


def test_the_boundary_itself_belongs_to_the_high_expert():
    assert expert_at(0.875, 0.875) == "high_noise"
    assert expert_at(np.nextafter(0.875, 0), 0.875) == "low_noise"


def test_a_model_without_boundary_has_the_low_expert_throughout():
    assert split_by_boundary(flow_sigmas(3, 5), None) == ("low_noise",) * 3


@pytest.mark.parametrize("values", [[1, 0.5, 0], np.array([1, 0.5, 0]), torch.tensor([1, 0.5, 0])])
def test_sigmas_of_ones_own_come_from_any_sequence(values):
    assert check_sigmas(values) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"sigmas: 0 value\(s\) make no step"),
        ([0], r"sigmas: 1 value\(s\) make no step"),
        ([1, 0.5], r"sigmas\[1\]: the list ends at 0\.5 \(a final 0\)\. Append 0\."),
        ([1, 0.5, 0.5, 0], r"sigmas\[2\]: 0\.5 does not fall below 0\.5 \(strictly descending\)\."),
        ([0.5, 0.6, 0], r"sigmas\[1\]: 0\.6 does not fall below 0\.5"),
        ([1.2, 0.6, 0], r"sigmas\[0\]: 1\.2 is above 1 \(noise levels from 1 down to 0\)\.$"),
        (
            [1000, 937.5, 0],
            r"sigmas\[0\]: 1000 is above 1 \(.* 1 down to 0\)\. Divide timesteps by 1000: 1, 0\.9375, 0\.$",
        ),
        ([1, float("nan"), 0], r"sigmas\[1\]: nan is not finite"),
        ([1, 0, -1], r"sigmas\[2\]: the list ends at -1"),
        ([1, "half", 0], r"sigmas\[1\]: 'half' is not a number"),
    ],
)
def test_a_sigma_list_no_run_can_follow_is_refused_at_its_entry(values, message):
    with pytest.raises(PlanError, match=message):
        check_sigmas(values)


def test_sigmas_are_read_from_text():
    assert parse_sigmas("1, .9375 0.8333,0.625, 0") == (1, 0.9375, 0.8333, 0.625, 0)
    with pytest.raises(PlanError, match=r"sigmas\[1\]: 'x' is not a number"):
        parse_sigmas("1, x, 0")


@pytest.mark.parametrize("boundary", [0, 1, -0.1, 1.5, float("nan"), float("inf"), "0.9", True])
def test_a_boundary_outside_zero_to_one_is_refused(boundary):
    with pytest.raises(PlanError, match="boundary: "):
        check_boundary(boundary)


def test_a_boundary_given_as_timestep_is_explained():
    with pytest.raises(PlanError, match=r"boundary: 875 is outside \(0, 1\) .*\. Divide a timestep by 1000: 0\.875\."):
        check_boundary(875)
