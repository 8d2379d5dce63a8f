"""The cells of a comparison of refiners: trainings that differ in nothing but the seed, with the spread over it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..spread import spread

#: What tells cells apart.
KEYS = ("method", "rehearsal", "rank", "lr")
#: Measure -> what reports call it.
MEASURES: Mapping[str, str] = {
    "exact": "right to the letter",
    "colour": "colour",
    "shape": "shape",
    "motion": "motion",
    "background": "background",
    "others": "the user's own words in place",
    "protected": "protected words kept",
    "identity": "good captions unchanged",
    "grammar": "captions at all",
    "ended": "ended",
}


def cells_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every cell of which a training has come to its end."""
    by_cell: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["state"] == "finished":
            by_cell.setdefault(tuple(row[key] for key in KEYS), []).append(row)
    return [{**dict(zip(KEYS, key, strict=True)), **_cell(own)} for key, own in by_cell.items()]


def flat(quality: Mapping[str, Any]) -> dict[str, float | None]:
    """Return measure -> its share, of what was measured of one set."""
    return {name: quality["slots"].get(name, quality.get(name)) for name in MEASURES}


def _cell(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    return {
        "names": [row["name"] for row in rows],
        "score": spread([row["score"] for row in rows]),
        "measured": {
            base: {name: _spreads([flat(row["measured"][base][name]) for row in rows]) for name in sets}
            for base, sets in first["measured"].items()
        },
        "curve": [
            {"step": point["step"], **{key: _at(rows, place, key) for key in point if key != "step"}}
            for place, point in enumerate(first["curve"])
        ],
        "num_trainable": first["tuned"]["num_trainable"],
        "num_parameters": first["tuned"]["num_parameters"],
        "num_tokens": first["tuned"]["num_tokens"],
        "bytes": first["bytes"],
        "file_bytes": first["file_bytes"],
        "peak_bytes": max(row["tuned"]["memory_bytes"] for row in rows),
        "libraries_bytes": min(row["libraries_bytes"] for row in rows),
        "seconds_per_step": statistics.median(row["seconds_per_step"] for row in rows),
        # Of the fastest training, which other programs on the machine have disturbed least.
        "seconds_of_fast_steps": min(row["seconds_of_fast_steps"] for row in rows),
        "seconds_per_answer": {
            base: min(row["seconds_per_answer"][base] for row in rows) for base in first["measured"]
        },
    }


def _at(rows: Sequence[Mapping[str, Any]], place: int, key: str) -> float:
    return statistics.fmean(row["curve"][place][key] for row in rows)


def _spreads(found: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    return {name: spread([value for row in found if (value := row[name]) is not None]) for name in MEASURES}
