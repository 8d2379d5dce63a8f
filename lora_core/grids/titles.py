"""What is written on the sheet of a grid."""

from __future__ import annotations

from ..media.mosaic import Titles
from .grid import Grid


def titles_of(grid: Grid, model: str) -> Titles:
    """Return what is written on a grid: its axes, and what all cells have in common."""
    request, rows = grid.request, grid.rows
    kinds = {axis.kind for _, axis in grid.axes}
    common = {
        "seed": f"seed {request.seed}",
        "steps": f"{request.num_steps} steps",
        "shift": f"shift {request.shift:g}",
        "solver": request.solver,
    }
    if request.sigmas is not None:
        common |= {"steps": f"{len(request.sigmas) - 1} steps", "shift": "own sigmas"}
    told = [text for kind, text in common.items() if kind not in kinds]
    heading = "" if "prompt" in kinds else request.prompt
    return Titles(
        heading="\n".join(filter(None, [heading, ", ".join([*told, model])])),
        columns=grid.columns.labels,
        rows=[""] if rows is None else rows.labels,
        of_columns=str(grid.columns.title),
        of_rows="" if rows is None else str(rows.title),
    )
