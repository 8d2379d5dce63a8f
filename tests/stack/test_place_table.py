"""What regions and times say, in one table with the page's texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_core.errors import StackError
from lora_core.stack.region import PLACES, Region
from lora_core.stack.time_curve import TimeCurve

#: Texts and what they stand for, which the tests of the page read too.
TABLE = json.loads((Path(__file__).parents[2] / "web/tests/places.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "box"), TABLE["boxes"])
def test_a_place_is_where_the_shared_table_has_it(text: str, box: list[float]) -> None:
    assert Region.parse(text).box == pytest.approx(tuple(box))


@pytest.mark.parametrize("text", TABLE["rest"])
def test_what_others_leave_is_told_from_a_file(text: str) -> None:
    region = Region.parse(text)
    assert region.rest
    assert Region.from_json(region.to_json()) == region


@pytest.mark.parametrize("text", TABLE["files"])
def test_what_looks_like_a_file_is_one(text: str) -> None:
    assert Region.parse(text).path is not None


@pytest.mark.parametrize(("text", "keyframes", "unit", "hard"), TABLE["times"])
def test_a_time_is_read_as_the_page_reads_it(text: str, keyframes: list[list[float]], unit: str, hard: bool) -> None:
    curve = TimeCurve.parse(text)
    assert (curve.keyframes, curve.unit, curve.hard) == (tuple(map(tuple, keyframes)), unit, hard)


@pytest.mark.parametrize("text", TABLE["region_faults"])
def test_a_region_that_the_page_refuses_is_refused(text: str) -> None:
    with pytest.raises(StackError):
        Region.parse(text)


@pytest.mark.parametrize("text", TABLE["time_faults"])
def test_a_time_that_the_page_refuses_is_refused(text: str) -> None:
    with pytest.raises(StackError):
        TimeCurve.parse(text)


def test_the_page_knows_every_place() -> None:
    script = (Path(__file__).parents[2] / "web/core/places.js").read_text(encoding="utf-8")
    assert [name for name in PLACES if f"  {name}: [" not in script and f"  '{name}': [" not in script] == []
