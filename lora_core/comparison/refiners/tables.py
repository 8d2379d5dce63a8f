"""The tables of the report on refiners, each with its heading, from the table of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..cells import fixed, mib, percent, rows_of, whole
from ..plots import TITLES
from .cells import MEASURES, flat
from .gap import WHOLE
from .names import Cell, Data, best_cells, cell_title, own_base, ranked_cells, share_text, swept_cells, told
from .questions import HANDWRITTEN, KNOWN, NEW
from .sentences import subject_title


def headline_table(data: Data) -> Iterator[str]:
    """Yield what is right to the letter, of everything that was asked."""
    yield "## Right to the letter"
    yield ""
    sets = data["sets"]
    num = min(row["num"] for row in sets.values())
    rows = []
    for row in data["baselines"].values():
        found = row["measured"]
        rows.append([row["title"], "", *(percent(found[name]["exact"]) if name in found else "" for name in sets)])
    for cell in best_cells(data):
        title = f"**{cell_title(cell['method'], cell['rehearsal'])}**"
        rows.append([title, f"{cell['lr']:g}", *(share_text(told(cell, name)) for name in sets)])
    head = ["", "rate", *(f"{row['title']} ({row['num']})" for row in sets.values())]
    yield from rows_of(head, rows)
    yield (
        "Of tunings the mean over the seeds, and in brackets the least and the most; the rate is the one that did best "
        "on questions of its own, half in new words and half in known ones, which nothing else here is told of. One "
        f"request of {num} is {100 / num:.1f} percent, and a share near a half may be {_chance(num):.0f} percent off "
        "by the choice of the requests alone."
    )
    yield ""


def _chance(num: int) -> float:
    """Return the half width of the 95 % interval of a share near a half, in percent."""
    return 100 * 1.96 * (0.25 / num) ** 0.5


def measures_table(data: Data, name: str) -> Iterator[str]:
    """Yield every measure of a set."""
    if name not in data["sets"]:
        return
    yield f"## Measure by measure: {data['sets'][name]['title']}"
    yield ""
    rows = [
        [row["title"], *(percent(flat(row["measured"][name])[measure]) for measure in MEASURES)]
        for row in data["baselines"].values()
        if name in row["measured"]
    ]
    for cell in best_cells(data):
        title = f"**{cell_title(cell['method'], cell['rehearsal'])}**"
        rows.append([title, *(share_text(told(cell, name, measure)) for measure in MEASURES)])
    yield from rows_of(["", *MEASURES.values()], rows)


def rates_table(data: Data) -> Iterator[str]:
    """Yield what every rate has led to."""
    yield "## The sweep of the rates"
    yield ""
    chosen = [(best["method"], best["rehearsal"], best["lr"]) for best in data["best"]]
    rows = []
    for cell in sorted(swept_cells(data), key=lambda c: (c["rehearsal"], list(TITLES).index(c["method"]), c["lr"])):
        is_best = (cell["method"], cell["rehearsal"], cell["lr"]) in chosen
        rows.append(
            [
                cell_title(cell["method"], cell["rehearsal"]),
                f"{cell['lr']:g}",
                str(len(cell["names"])),
                *(share_text(told(cell, name)) for name in data["sets"]),
                share_text(cell["score"]),
                "best" if is_best else "",
            ]
        )
    titles = [row["title"] for row in data["sets"].values()]
    yield from rows_of(["method", "rate", "seeds", *titles, "chosen by", ""], rows)
    for row in data["runs"]:
        if row["why"]:
            yield f"- {row['name']}: {row['state']}, {row['why']}"
            yield ""


def ranks_table(data: Data) -> Iterator[str]:
    """Yield what LoRA's rank changes."""
    cells = ranked_cells(data)
    if len({cell["rank"] for cell in cells}) < 2:
        return
    yield "## LoRA's rank"
    yield ""
    alpha = data["common"]["alpha"]
    rows = [
        [
            str(cell["rank"]),
            f"{alpha:g}",
            f"{cell['lr']:g}",
            str(len(cell["names"])),
            whole(cell["num_trainable"]),
            *(share_text(told(cell, name)) for name in data["sets"]),
        ]
        for cell in cells
    ]
    titles = [row["title"] for row in data["sets"].values()]
    yield from rows_of(["rank", "alpha", "rate", "seeds", "learn", *titles], rows)
    yield "All without rehearsal. An adapter's change is scaled by alpha / rank."
    yield ""


def costs_table(data: Data) -> Iterator[str]:
    """Yield what each method takes."""
    cells = [cell for cell in best_cells(data) if not cell["rehearsal"]]
    if not cells:
        return

    def row(title: str, read: Callable[[Cell], str]) -> list[str]:
        return [title, *(read(cell) for cell in cells)]

    def added(cell: Cell) -> int | None:
        held = cell["bytes"].values()
        return None if None in held else sum(held)

    yield "## What each method takes"
    yield ""
    rows = [
        row("weights that learn", lambda c: whole(c["num_trainable"])),
        row("of the base's", lambda c: percent(c["num_trainable"] / c["num_parameters"])),
        row("bytes of weights, MiB", lambda c: mib(c["bytes"]["weights"])),
        row("bytes of gradients, MiB", lambda c: mib(c["bytes"]["gradients"])),
        row("bytes of the optimiser's states, MiB", lambda c: mib(c["bytes"]["states"])),
        row("these three, MiB", lambda c: mib(added(c))),
        row("process at its peak, MiB", lambda c: mib(c["peak_bytes"])),
        row("of that libraries before anything is opened, MiB", lambda c: mib(c["libraries_bytes"])),
        row("a step, median, s", lambda c: fixed(c["seconds_per_step"], 2)),
        row("a step, fastest quarter, s", lambda c: fixed(c["seconds_of_fast_steps"], 2)),
        row("an answer, s", lambda c: fixed(c["seconds_per_answer"][own_base(c)], 3)),
        row("files, MiB", lambda c: mib(c["file_bytes"])),
        row("tokens gone through", lambda c: whole(c["num_tokens"])),
    ]
    yield from rows_of(["", *(TITLES[cell["method"]] for cell in cells)], rows)
    yield from _memory_note(data, cells)


def _memory_note(data: Data, cells: list[Cell]) -> Iterator[str]:
    by_method = {cell["method"]: cell for cell in cells}
    text = "Bytes are computed from the tensors of the network that learns, without activations."
    if "lora" in by_method and "qlora" in by_method:
        lora, qlora = by_method["lora"], by_method["qlora"]
        kept = qlora["bytes"]["weights"] / lora["bytes"]["weights"]
        peak = qlora["peak_bytes"] / lora["peak_bytes"]
        text += (
            f" QLoRA's weights take {100 * kept:.0f} % of LoRA's, and its process {100 * peak:.0f} %: what a process "
            "takes of the system is libraries, activations and the base as it was read before it was packed, so on a "
            "CPU it does not show what QLoRA saves."
        )
    yield text
    yield ""


def bases_table(data: Data) -> Iterator[str]:
    """Yield how QLoRA's adapters do on either base."""
    cells = [cell for cell in best_cells(data) if len(cell["measured"]) > 1]
    if not cells:
        return
    yield "## QLoRA on either base"
    yield ""
    rows = [
        [
            cell_title(cell["method"], cell["rehearsal"]),
            base,
            *(share_text(told(cell, n, base=base)) for n in data["sets"]),
        ]
        for cell in cells
        for base in cell["measured"]
    ]
    yield from rows_of(["", "base", *(row["title"] for row in data["sets"].values())], rows)


def videos_table(data: Data) -> Iterator[str]:
    """Yield what of the gap in videos is closed."""
    videos = data["videos"]
    if videos is None:
        return
    yield "## The share of the gap closed in videos"
    yield ""
    steps = data["config"]["compare"]["video_steps"]
    yield (
        f"{videos['num']} requests that say colour, shape and direction ({videos['num_by_hand']} of them written by "
        "hand, the others in new words and mixtures held out), each with a noise of its own that is the same for all; "
        f"{steps} steps with the pocket's LoRA for few steps, read by `lora_core.pocket.measure`. Closed is (refined - "
        "raw) / (right - raw), of videos that show all three as asked."
    )
    yield ""
    rows = []
    for name in _in_order(videos["subjects"]):
        row = videos["subjects"][name]
        closed = ["" if name in ("raw", "right") else share_text(row["closed"][what]) for what in WHOLE]
        rows.append([subject_title(data, name), *(share_text(row[what]) for what in _SHOWN), *closed])
    yield from rows_of(["", *_SHOWN.values(), "gap closed", "by hand", "new words"], rows)


_SHOWN = {
    "colour": "colour",
    "shape": "shape",
    "motion": "direction",
    "all": "all three",
    "by_hand": "of those written by hand",
    "drawn": "of those in new words",
}


def _in_order(subjects: Mapping[str, Any]) -> list[str]:
    return ["raw", *(name for name in subjects if name not in ("raw", "right")), "right"]


def examples_table(data: Data) -> Iterator[str]:
    """Yield some requests that the best tuning gets wrong."""
    if not data["examples"]:
        return
    yield "## Where the best tuning errs"
    yield ""
    keys = {"prompt": "request, written by hand", "right": "right", "tuned": "tuned", "dictionary": "dictionary"}
    rows = [[row[key] for key in keys] for row in data["examples"]]
    yield from rows_of(list(keys.values()), rows)


def trainings_table(data: Data) -> Iterator[str]:
    """Yield all trainings."""
    yield "## The trainings"
    yield ""
    rows = []
    for row in data["runs"]:
        measured: Mapping[str, Any] = next(iter((row["measured"] or {}).values()), {})
        shares = [percent(measured[name]["exact"]) if name in measured else "" for name in (NEW, KNOWN, HANDWRITTEN)]
        loss = "" if row["tuned"] is None else fixed(row["tuned"]["loss"], 3)
        rows.append([row["name"], row["state"], fixed(row["seconds_per_step"], 2), loss, *shares])
    yield from rows_of(["training", "", "s/step", "last loss", "new", "known", "handwritten"], rows)
