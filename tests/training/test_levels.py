"""Noise levels: how they are distributed, and truncated to an expert's part."""

from __future__ import annotations

import pytest
import torch

from lora_core.plan.sigmas import flow_sigmas
from lora_core.training.levels import Levels, grid

#: P(t >= boundary) by shift: (boundary, distribution) -> shares at shifts 1, 3, 5 and 12; field notes, derived by hand.
SHARES = {
    (0.875, "uniform"): (0.125, 0.300, 0.417, 0.632),
    (0.875, "logit_normal"): (0.026, 0.198, 0.368, 0.705),
    (0.900, "uniform"): (0.100, 0.250, 0.357, 0.571),
    (0.900, "logit_normal"): (0.014, 0.136, 0.278, 0.613),
}
CASES = [
    (boundary, distribution, shift, share)
    for (boundary, distribution), shares in SHARES.items()
    for shift, share in zip((1, 3, 5, 12), shares, strict=True)
]


@pytest.mark.parametrize(("boundary", "distribution", "shift", "share"), CASES)
def test_the_high_noise_experts_share_of_the_draws_is_the_tables(boundary, distribution, shift, share) -> None:
    levels = Levels(distribution, shift)
    assert levels.of("high_noise", boundary).share() == pytest.approx(share, abs=6e-4)
    assert levels.of("low_noise", boundary).share() == pytest.approx(1 - share, abs=6e-4)
    t = levels.at(torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert (t >= boundary).double().mean().item() == pytest.approx(share, abs=6e-3)


@pytest.mark.parametrize("distribution", ["uniform", "logit_normal"])
@pytest.mark.parametrize("expert", ["high_noise", "low_noise"])
def test_a_truncated_distribution_is_that_of_the_draws_that_fall_into_the_part(distribution, expert) -> None:
    """Rescaled draws, which some trainers take, would have another shape."""
    levels, boundary = Levels(distribution, 5.0), 0.875
    u = torch.rand(200_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    everywhere = levels.at(u)
    inside = everywhere[(everywhere >= boundary) if expert == "high_noise" else (everywhere < boundary)]
    truncated = levels.of(expert, boundary).at(u)
    quantiles = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    # torch.quantile takes at most 16 million values.
    difference = torch.quantile(truncated, quantiles) - torch.quantile(inside, quantiles)
    assert difference.abs().max().item() < 4e-3


@pytest.mark.parametrize("boundary", [0.875, 0.9, 0.417])
def test_no_draw_crosses_the_boundary_and_the_boundary_itself_is_high(boundary) -> None:
    """0.9 is no float32: rounded down it would be the other expert's."""
    levels = Levels("logit_normal", 5.0)
    edges = torch.tensor([0.0, 1e-12, 0.5, 1 - 1e-12], dtype=torch.float64)
    high, low = levels.of("high_noise", boundary).at(edges), levels.of("low_noise", boundary).at(edges)
    assert all(t >= boundary for t in high.tolist())
    assert all(t < boundary for t in low.tolist())
    assert high.max() <= 1
    assert low.min() >= 0


def test_a_model_of_one_expert_draws_from_all_levels() -> None:
    levels = Levels("uniform", 5.0)
    assert levels.of("low_noise", None) == levels
    assert levels.share() == 1


def test_the_shift_is_the_samplers() -> None:
    assert grid(6, 5.0) == pytest.approx(flow_sigmas(6, 5.0), abs=1e-15)
    u = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    assert Levels("uniform", 5.0).at(u).tolist() == pytest.approx(list(flow_sigmas(4, 5.0))[3:0:-1])
