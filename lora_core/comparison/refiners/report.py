"""The report of a comparison of refiners, Markdown with pictures, made from the table of what was found alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from ...atomic import write_text
from ...checks import counted
from ..plots import TITLES
from ..report import IMAGES, check_report
from ..report_parts import machine_rows, not_over
from ..settings import ENOUGH
from .names import Data, best_cells, cell_title
from .plots import save_pictures
from .questions import HANDWRITTEN, NEW
from .sentences import in_short
from .tables import (
    bases_table,
    costs_table,
    examples_table,
    headline_table,
    measures_table,
    ranks_table,
    rates_table,
    trainings_table,
    videos_table,
)

#: Picture -> what it is called for those who cannot see it.
PICTURES = {
    "kept": "What is learnt against what is kept, for every rate and checkpoint",
    "rates": "What is right by learning rate",
    "ranks": "What is right by LoRA's rank",
    "gap": "Videos that show what was asked, by who refined the request",
}


def write_report(data: Data, path: str | Path) -> Path:
    """Write the report, the table it is made from, and its pictures, into `images` beside it."""
    path = Path(path)
    check_report(path)
    pictures = save_pictures(data, path.parent / IMAGES)
    write_text(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")), path.with_suffix(".json"))
    write_text(report_text(data, pictures), path)
    return path


def report_text(data: Data, pictures: Collection[str]) -> str:
    """Return the report as Markdown, with those pictures that there are."""
    return "\n".join(_lines(data, pictures)).rstrip() + "\n"


def _lines(data: Data, pictures: Collection[str]) -> Iterator[str]:
    yield "# Refiners of prompts: full tuning, LoRA and QLoRA side by side"
    yield ""
    yield from _opening(data)
    if data["cells"]:
        yield from in_short(data)
        yield ""
        yield from headline_table(data)
        yield from _picture(pictures, "kept")
        yield from videos_table(data)
        yield from _picture(pictures, "gap")
        yield from measures_table(data, HANDWRITTEN)
        yield from measures_table(data, NEW)
        yield from examples_table(data)
        yield from rates_table(data)
        yield from _picture(pictures, "rates")
        yield from ranks_table(data)
        yield from _picture(pictures, "ranks")
        yield from costs_table(data)
        yield from bases_table(data)
    yield from _not_swept(data)
    yield from trainings_table(data)
    yield from _machine(data)


def _opening(data: Data) -> Iterator[str]:
    yield from not_over(data)
    if not data["base"]:
        return
    counts, common = data["base"]["counts"], data["common"]
    model = data["config"].get("model", "pocket-lm")
    yield (
        f"{model} turns requests into captions of the pocket's world; here it learns words that it was never shown, "
        f"from {counts['rows']} rows, in {common['steps']} steps of {common['batch_size']} rows: without rehearsal "
        f"each row is seen {common['steps'] * common['batch_size'] / counts['rows']:.1f} times. All methods see the "
        "same rows in the same order with one seed; adapters are on all linear layers, of rank "
        f"{common.get('rank', 0)} with alpha {common.get('alpha', 0):g} where no other is named, and in float32. Where "
        "rows are rehearsed, they take the place of rows in new words: of the same steps fewer teach those. No request "
        "is both learnt and asked, nor in two sets."
    )
    yield ""


def _picture(pictures: Collection[str], name: str) -> Iterator[str]:
    if name in pictures:
        yield f"![{PICTURES[name]}]({IMAGES}/refiner-{name}.png)"
        yield ""


def _not_swept(data: Data) -> Iterator[str]:
    table, common = data["config"]["compare"], data["common"]
    yield "## What was not swept"
    yield ""
    text = [
        f"Schedule ({common['schedule']}), optimiser ({common['optimizer']}), batch size, number of rows and of steps, "
        "alpha and targets of adapters are the same for all, and may suit one method better than another."
    ]
    if single := [cell for cell in data["cells"] if len(cell["names"]) < ENOUGH]:
        text.append(
            f"Of {len(data['cells'])} combinations of method, rank, rate and rehearsal {len(single)} have fewer than "
            f"{ENOUGH} seeds: rates that are not the best of their method, and other ranks."
        )
    if few := [TITLES[method] for method, rates in table["rates"].items() if len(rates) < ENOUGH]:
        text.append(f"Of {', '.join(few)} fewer than {ENOUGH} rates were tried, which is no sweep.")
    edges = [
        cell_title(cell["method"], cell["rehearsal"])
        for cell in best_cells(data)
        if cell["lr"] in (min(table["rates"][cell["method"]]), max(table["rates"][cell["method"]]))
    ]
    if edges:
        text.append(f"The best rate of {', '.join(edges)} is the first or the last tried; a better one may lie beyond.")
    if table["rehearsal"]:
        text.append(f"Of rehearsal one share was tried, {100 * table['rehearsal']:.0f} %.")
    if table["ranks"]:
        text.append("Ranks were tried of LoRA alone, without rehearsal and with the first seed.")
    if not table["prompted"]:
        text.append("No other language model was prompted.")
    yield " ".join(text)
    yield ""


def _machine(data: Data) -> Iterator[str]:
    environment, base = data["environment"], data["base"]
    if not environment:
        return
    yield from machine_rows(environment, counted(environment["torch"]["num_threads"], "thread"))
    yield f"- the model's files (sha256): `{base['model'][:12]}`; with rows and questions: `{base['digest'][:12]}`"
    yield f"- written {data['written']}, from the JSON beside it, which has every number in full"
    yield ""
