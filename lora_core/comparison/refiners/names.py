"""What reports call the subjects of a comparison of refiners, and which of its cells are the best of their method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..plots import TITLES

Data = Mapping[str, Any]
Cell = Mapping[str, Any]


def cell_title(method: str, rehearsal: float) -> str:
    """Name a method with or without rehearsal."""
    return TITLES[method] + (", rehearsing" if rehearsal else "")


def best_cells(data: Data) -> list[Cell]:
    """Return the cell of the best rate of each method, with rehearsal and without, at the common rank."""
    return [cell for best in data["best"] if (cell := _cell_of(data, best)) is not None]


def _cell_of(data: Data, best: Mapping[str, Any]) -> Cell | None:
    return next(
        (c for c in swept_cells(data) if all(c[key] == best[key] for key in ("method", "rehearsal", "lr"))), None
    )


def swept_cells(data: Data) -> Iterator[Cell]:
    """Yield all cells at the common rank."""
    yield from (cell for cell in data["cells"] if not cell["rank"] or cell["rank"] == data["common"].get("rank"))


def ranked_cells(data: Data) -> list[Cell]:
    """Return LoRA's cells without rehearsal, from the lowest rank."""
    own = [cell for cell in data["cells"] if cell["method"] == "lora" and not cell["rehearsal"]]
    return sorted(own, key=lambda cell: (cell["rank"], cell["lr"]))


def own_base(cell: Cell) -> str:
    """Return the base that a cell was tuned on."""
    return str(next(iter(cell["measured"])))


def told(cell: Cell, name: str, measure: str = "exact", base: str = "") -> Mapping[str, Any] | None:
    """Return the spread of a measure of a set; None where nothing was measured."""
    found = cell["measured"][base or own_base(cell)].get(name)
    return None if found is None else found[measure]


def mean(cell: Cell, name: str, measure: str = "exact") -> float | None:
    """Return its mean over the seeds."""
    spread = told(cell, name, measure)
    return None if spread is None else float(spread["mean"])


def share_text(spread: Mapping[str, Any] | None) -> str:
    """Write a share in whole percent, with the least and the most of the seeds where they differ."""
    if spread is None:
        return ""
    middle, least, most = (f"{100 * spread[key]:.0f}" for key in ("mean", "least", "most"))
    return f"{middle} %" + ("" if least == most else f" ({least} to {most})")


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence has them."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
