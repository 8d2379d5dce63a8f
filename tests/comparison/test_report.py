"""The report that is shipped: made from the table beside it, with pictures that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import lora_core
from lora_core.comparison.report import PICTURES, report_text

DOCS = Path(lora_core.__file__).parents[1] / "docs"
TEXT = (DOCS / "comparison.md").read_text(encoding="utf-8")
DATA = json.loads((DOCS / "comparison.json").read_text(encoding="utf-8"))


def test_the_shipped_report_is_what_its_table_says() -> None:
    pictures = [name for name in PICTURES if (DOCS / "images" / f"comparison-{name}.png").is_file()]
    assert report_text(DATA, pictures) == TEXT


def test_the_shipped_report_is_over_with_three_methods_rates_and_seeds_or_says_that_it_is_not() -> None:
    assert ("*This comparison is not over:" in TEXT) == (not DATA["is_over"])
    for method in ("full", "lora", "qlora"):
        runs = [row for row in DATA["runs"] if row["method"] == method]
        assert len({row["lr"] for row in runs if row["held_out"]}) >= 3
        assert DATA["methods"][method]["num_seeds"] >= 3 or not DATA["is_over"]


def test_every_picture_of_the_shipped_report_is_there() -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert len(shown) == len(PICTURES) or not DATA["is_over"]
    assert all((DOCS / picture).is_file() for picture in shown)
