"""The tables of an evaluation's report, each with its heading, from the table of what was found."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from ..checks import counted
from ..comparison.cells import fixed, mib, percent, rows_of
from ..media.measures import MEASURES
from .meaning import MEANINGS

Data = Mapping[str, Any]


def length_tables(data: Data) -> Iterator[str]:
    """Yield a table for each length: what was read of each way's videos, and what they took."""
    meanings = meanings_in(data)
    for frames in data["frames"]:
        cells = [cell for cell in data["cells"] if cell["frames"] == frames]
        yield f"## {frames} frames"
        yield ""
        rows = [[data["variants"][cell["variant"]], *_figures(cell, meanings)] for cell in cells]
        titles = [*(MEANINGS[name][0] for name in meanings), *(measure.title for measure in MEASURES.values())]
        yield from rows_of(["", *titles, "s a video", "s of the processor", "s a step", "MiB"], rows)
        yield from _radial_line(cells)


def _figures(cell: Mapping[str, Any], meanings: list[str]) -> Iterator[str]:
    for name in meanings:
        yield percent(mean_of(cell, name))
    for name, measure in MEASURES.items():
        yield fixed(mean_of(cell, name), measure.digits)
    yield fixed(mean_of(cell, "seconds"), 1)
    yield fixed(mean_of(cell, "processor_seconds"), 1)
    yield fixed(mean_of(cell, "step_seconds"), 3)
    yield mib(cell["memory_bytes"])


def _radial_line(cells: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what radial attention leaves out at this length, the same for all that have it."""
    told = next((cell["radial"] for cell in cells if cell["radial"]), None)
    if told is None:
        return
    dense = told["settings"]["dense"]
    yield (
        f"Radial attention keeps {percent(told['density'])} of the pairs here, which leaves {percent(told['cost'])} of "
        f"the run's work in self-attention; dense are {_part('first', dense['first_steps'], 'step')}, "
        f"{_part('last', dense['last_steps'], 'step')} and {_part('first', dense['first_blocks'], 'block')}."
    )
    yield ""


def _part(which: str, count: int | float, noun: str) -> str:
    if isinstance(count, float):
        return f"the {which} {percent(count)} of the {noun}s"
    return f"the {which} {noun}" if count == 1 else f"the {which} {counted(count, noun)}"


def kept_table(data: Data) -> Iterator[str]:
    """Yield how much of the meaning at the model's usual length, or else the shortest, is left at the others."""
    meanings, base = meanings_in(data), _usual_cell(data)
    if not meanings or base is None or len(data["frames"]) < 2:
        return
    whole = score_of(base, meanings)
    if not whole:
        return
    yield "## What is kept of the meaning"
    yield ""
    rows = []
    for variant, title in data["variants"].items():
        scores = [score_of(cell_of(data, variant, frames), meanings) for frames in data["frames"]]
        rows.append([title, *("" if score is None else percent(score / whole) for score in scores)])
    yield from rows_of(["", *(f"{frames} frames" for frames in data["frames"])], rows)
    first = f"{data['variants'][base['variant']]} at {base['frames']} frames, {percent(whole)}"
    yield f"The mean of {', '.join(MEANINGS[name][0] for name in meanings)}, against that of {first}."
    yield ""


def explained(data: Data) -> Iterator[str]:
    """Yield how each figure is read."""
    yield "## How it is read"
    yield ""
    for name in meanings_in(data):
        title, text = MEANINGS[name]
        yield f"- **{title}**: {text}"
    for measure in MEASURES.values():
        yield f"- **{measure.title}**: {measure.explained}"
    yield (
        "- **s a video**: sampling and decoding; **s a step**: the median step of a video, means over the videos; "
        "**s of the processor**: what the whole process had of it, which other programs on the machine disturb least"
    )
    yield "- **MiB**: the most that tensors have held at once while a video is made, the weights aside"
    yield ""
    yield (
        "All but the meaning are our own measures and need no network: what VBench reads with DINO and CLIP they read "
        "from colours and edges, and their numbers are not VBench's. Compare ways at one length, and lengths in one "
        "way; a clip in which nothing moves is consistent too."
    )
    yield ""


def meanings_in(data: Data) -> list[str]:
    """Return the meanings that were read."""
    return [name for name in MEANINGS if any(name in cell["read"] for cell in data["cells"])]


def mean_of(cell: Mapping[str, Any], name: str) -> float | None:
    return cell["read"][name]["mean"] if name in cell["read"] else None


def cell_of(data: Data, variant: str, frames: int) -> Mapping[str, Any] | None:
    """Return a cell, or None where it is not made yet."""
    return next((cell for cell in data["cells"] if (cell["variant"], cell["frames"]) == (variant, frames)), None)


def _usual_cell(data: Data) -> Mapping[str, Any] | None:
    """Return what the others are held against: the model's usual length, or else the shortest, in the first way."""
    usual = data["asked"].get("usual_frames")
    frames = usual if usual in data["frames"] else next(iter(data["frames"]), 0)
    return cell_of(data, next(iter(data["variants"]), ""), frames)


def score_of(cell: Mapping[str, Any] | None, meanings: list[str]) -> float | None:
    """Return the mean of a cell's meanings; None without any."""
    values = [] if cell is None else [mean_of(cell, name) for name in meanings]
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None
