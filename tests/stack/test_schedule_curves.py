"""The factors of a schedule, in one table with the curve that the page draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_core.stack.schedule import StrengthSchedule

#: Schedules and their factors at some positions, which the tests of the page read too.
CASES = json.loads((Path(__file__).parents[2] / "web/tests/schedule_curves.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["schedule"]))
def test_a_schedule_has_the_factors_of_the_shared_table(case: dict[str, object]) -> None:
    schedule = StrengthSchedule.from_json(case["schedule"])
    assert schedule.axis == case["axis"]
    # Steps at even noise levels: a fraction f of them is at sigma 1 - f.
    over = schedule.over([1 - i / 20 for i in range(21)])
    for position, factor in case["at"]:
        sigma = position if schedule.axis == "sigma" else 1 - position
        assert over(sigma) == pytest.approx(factor)
