"""Whose turn a step is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lora_core.experts import EXPERTS
from lora_core.training.turns import Turns


@given(every=st.integers(1, 50), share=st.floats(0.05, 0.95), turns=st.integers(20, 200))
def test_the_high_noise_expert_has_its_share_of_the_turns(every: int, share: float, turns: int) -> None:
    order = Turns(EXPERTS, every, share)
    counted = order.count("high_noise", every * turns) / (every * turns)
    assert abs(counted - share) <= 1 / turns


@given(every=st.integers(1, 20), share=st.floats(0.05, 0.95))
def test_experts_change_over_at_the_ends_of_turns_only(every: int, share: float) -> None:
    order = Turns(EXPERTS, every, share)
    changes = [step for step in range(1, 10 * every) if order.at(step) != order.at(step - 1)]
    assert all(step % every == 0 for step in changes)


def test_one_expert_has_every_step() -> None:
    assert Turns(("low_noise",)).count("low_noise", 7) == 7


def test_half_and_half_begins_with_the_high_noise_expert() -> None:
    assert [Turns(EXPERTS, 2, 0.5).at(step) for step in (0, 1, 2, 3, 4)] == [
        *["high_noise"] * 2,
        *["low_noise"] * 2,
        "high_noise",
    ]
