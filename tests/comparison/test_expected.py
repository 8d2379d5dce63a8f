"""The figures that were expected: held, not held, or not to be told; and the spread over the seeds."""

from __future__ import annotations

from typing import Any

import pytest

from lora_core.comparison.config import make_comparison
from lora_core.comparison.expected import expectations
from lora_core.comparison.spread import spread

CONFIG = make_comparison({"clips": "clips"})


def summary(loss: float, score: float = 0.5, moved: float = 0.1, **more: Any) -> dict[str, Any]:
    judged = {"score": {"mean": score, "half_width": 0.01}, "moved": {"mean": moved}}
    bases = ("plain", "packed")
    return {
        "lr": 1e-3,
        "is_at_edge": False,
        "tensor_bytes": 100,
        "device_bytes": None,
        "seconds_of_fast_steps": 1.0,
        "held_out": {base: {"mean": {"mean": loss}} for base in bases},
        "judged": dict.fromkeys(bases, judged),
        **more,
    }


def verdicts(**methods: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row["held"] for row in expectations(methods, CONFIG)}


def test_figures_that_are_met_have_held() -> None:
    full = summary(1.0, lr=1e-4, moved=0.2)
    lora = summary(1.01, tensor_bytes=55, seconds_of_fast_steps=0.7)
    qlora = summary(1.02, tensor_bytes=30, seconds_of_fast_steps=0.75)
    assert set(verdicts(full=full, lora=lora, qlora=qlora).values()) == {True}


def test_figures_that_are_missed_have_not() -> None:
    full = summary(1.0, lr=1e-3)
    lora = summary(1.1, moved=0.3, tensor_bytes=90, seconds_of_fast_steps=0.9)
    qlora = summary(1.2, tensor_bytes=80, seconds_of_fast_steps=2.0)
    assert set(verdicts(full=full, lora=lora, qlora=qlora).values()) == {False}


def test_a_method_that_was_not_trained_cannot_be_told_of() -> None:
    rows = expectations({"lora": summary(1.0)}, CONFIG)
    assert {row["held"] for row in rows} == {None}
    assert {row["ours"] for row in rows} == {"not measured"}


@pytest.mark.parametrize(
    ("score", "moved", "held"),
    [(0.5, 0.1, True), (0.5, 0.3, False), (0.9, 0.1, True), (0.2, 0.3, False), (0.2, 0.1, None), (0.9, 0.3, None)],
)
def test_drift_is_judged_only_where_as_much_was_learnt(score: float, moved: float, held: bool | None) -> None:
    found = verdicts(full=summary(1.0, score=0.5, moved=0.2), lora=summary(1.0, score=score, moved=moved))
    assert found["A5"] is held


def test_memory_is_the_devices_where_it_counts_its_own() -> None:
    full, lora = summary(1.0, device_bytes=100), summary(1.0, device_bytes=50, tensor_bytes=100)
    row = next(row for row in expectations({"full": full, "lora": lora}, CONFIG) if row["name"] == "A2")
    assert (row["held"], row["ours"]) == (True, "0.500 times")


def test_the_spread_of_three_seeds_is_students() -> None:
    found = spread([1.0, 2.0, 3.0])
    assert found is not None
    assert (found["mean"], found["least"], found["most"]) == (2.0, 1.0, 3.0)
    assert found["half_width"] == pytest.approx(4.303 / 3**0.5)  # t of two degrees of freedom, deviation 1


def test_one_seed_has_no_spread_and_none_has_nothing() -> None:
    found = spread([1.0])
    assert found is not None
    assert found["half_width"] is None
    assert spread([]) is None
