"""The report on refiners: its sentences follow from the figures, also where they are not what one hoped for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comparison.refiners.small_refiners import row, table

from lora_core.comparison.refiners.gap import closed_share
from lora_core.comparison.refiners.report import PICTURES, report_text, write_report

DOCS = Path(__file__).parents[3] / "docs"
BASELINES = {"raw": 0.1, "dictionary": 0.5, "dictionary-new": 0.9, "untuned": 0.4}


def rows(learnt: float, kept: float) -> list[dict[str, Any]]:
    return [
        row(method, lr, share, seed, learnt + 0.01 * seed, kept)
        for method, lr in (("full", 1e-3), ("lora", 1e-2), ("qlora", 1e-2))
        for share in (0.0, 0.5)
        for seed in (0, 1)
    ]


def test_the_report_admits_what_is_not_beaten() -> None:
    text = report_text(table(rows(0.6, 0.8), BASELINES), [])
    assert (
        "It beats raw (10 %), dictionary (50 %) and untuned (40 %). **It does not beat dictionary-new (90 %).**" in text
    )


def test_the_report_says_what_is_beaten_by_all_seeds() -> None:
    text = report_text(table(rows(0.95, 0.97), BASELINES), [])
    assert "It does not beat" not in text
    assert "It beats raw (10 %), dictionary (50 %), dictionary-new (90 %) and untuned (40 %)." in text


def test_what_lies_between_the_seeds_is_not_told_apart() -> None:
    text = report_text(table(rows(0.60, 0.8), {"dictionary": 0.605}), [])
    assert "It is not told apart from dictionary (60 %)." in text


def test_learnt_and_kept_stand_side_by_side() -> None:
    text = report_text(table(rows(0.6, 0.8), BASELINES), [])
    assert "**Without rehearsal**, right in new words and in known words (untuned: 40 % of known words)" in text
    assert "**With 50 % of the rows rehearsed**" in text
    assert "**At equal learning**" in text


def test_few_seeds_and_rates_at_the_edge_are_told() -> None:
    text = report_text(table(rows(0.6, 0.8), BASELINES), [])
    assert "6 have fewer than 3 seeds" in text
    assert "fewer than 3 rates were tried, which is no sweep" in text
    assert "is the first or the last tried" in text


def test_a_report_of_nothing_yet_can_be_written(tmp_path: Path) -> None:
    data = table([], {}) | {"is_over": False, "base": {}}
    assert "*This comparison is not over:" in write_report(data, tmp_path / "r.md").read_text()


def test_the_report_is_made_from_its_table_alone(tmp_path: Path) -> None:
    data = table(rows(0.6, 0.8), BASELINES)
    data["videos"] = {"num": 4, "num_by_hand": 2, "subjects": {}}
    for name, share in {"raw": 0.0, "dictionary": 0.5, "full-0": 0.75, "right": 1.0}.items():
        spread = {"mean": share, "least": share, "most": share}
        shown = dict.fromkeys(("colour", "shape", "motion", "all", "by_hand", "drawn"), spread)
        data["videos"]["subjects"][name] = {**shown, "closed": dict.fromkeys(("all", "by_hand", "drawn"), spread)}
    text = write_report(data, tmp_path / "r.md").read_text()
    assert (
        "Of the gap the best tuning closes 75 % (full, 0.001), the best way without tuning 50 % (dictionary)." in text
    )
    for name in ("kept", "rates", "gap"):
        assert (tmp_path / "images" / f"refiner-{name}.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("raw", "refined", "right", "closed"), [(0.2, 0.6, 1.0, 0.5), (0.5, 0.25, 1.0, -0.5), (1.0, 1.0, 1.0, None)]
)
def test_the_share_of_a_gap_may_be_negative_or_missing(
    raw: float, refined: float, right: float, closed: float | None
) -> None:
    assert closed_share(raw, refined, right) == (None if closed is None else pytest.approx(closed))


def test_the_shipped_report_is_what_its_table_says() -> None:
    data = json.loads((DOCS / "refiner.json").read_text(encoding="utf-8"))
    pictures = [name for name in PICTURES if (DOCS / "images" / f"refiner-{name}.png").is_file()]
    assert report_text(data, pictures) == (DOCS / "refiner.md").read_text(encoding="utf-8")
    assert data["is_over"]
    assert len(pictures) == len(PICTURES)
