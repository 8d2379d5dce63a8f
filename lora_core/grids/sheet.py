"""What is made of all cells of a grid: the sheet on which they play together, its picture, the table, the recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..atomic import replacing, write_text
from ..comparison.folder import read_json
from ..engine.stopwatch import step_seconds, whole_seconds
from ..families.opened import OpenedModel
from ..media.mosaic import mosaic_frames, mosaic_picture
from ..media.video import save_video
from .folder import GridFolder
from .grid import Grid
from .measured import meaning_of, measures_of, read_clip, table_of
from .planned import PlannedCell
from .recipe import command_of, model_words
from .titles import titles_of

_FORMAT = 1


def write_results(
    folder: GridFolder,
    grid: Grid,
    planned: Sequence[PlannedCell],
    model: OpenedModel,
    scale: int,
    words: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Write sheet, picture, table and recipe of the cells that there are; return what they tell of each."""
    rows = _rows(folder, grid, planned, model, scale, model_words(model) if words is None else words)
    if rows:
        _draw(folder, grid, planned, model, scale, {(row["row"], row["column"]) for row in rows})
    write_text(table_of(rows), folder.table)
    axes = {name: axis.to_json() for name, axis in grid.axes}
    recipe = {"format": _FORMAT, "model": model.spec.title, "axes": axes, "num_cells": len(planned), "cells": rows}
    write_text(json.dumps(recipe, indent=1, ensure_ascii=False) + "\n", folder.recipe)
    return rows


def _rows(
    folder: GridFolder,
    grid: Grid,
    planned: Sequence[PlannedCell],
    model: OpenedModel,
    scale: int,
    words: Sequence[str],
) -> list[dict[str, Any]]:
    """Return what there is to say of each cell that is made."""
    rows, first = [], None
    for one in planned:
        files, cell = folder.files(one, grid.ending), one.cell
        record = read_json(files.record)
        if record is None or not files.clip.is_file():
            continue
        frames = read_clip(files, scale)
        first = frames if one is planned[0] else first
        again = files.clip.with_name(f"{files.clip.stem}.again{files.clip.suffix}")
        timings = record["timings"]
        rows.append(
            {
                "row": cell.row + 1,
                "column": cell.column + 1,
                "row_value": cell.row_label,
                "column_value": cell.column_label,
                "file": files.clip.relative_to(folder.path).as_posix(),
                "record": files.record.relative_to(folder.path).as_posix(),
                "recipe_sha256": one.recipe,
                "command": command_of(record, files.stack, again, words),
                "measures": measures_of(frames, first) | meaning_of(frames, cell.request.prompt, model),
                "steps_run": len(step_seconds(timings)),
                "seconds": round(whole_seconds(timings), 3),
                "latents_sha256": record["latents_sha256"],
            }
        )
    return rows


def _draw(
    folder: GridFolder,
    grid: Grid,
    planned: Sequence[PlannedCell],
    model: OpenedModel,
    scale: int,
    made: set[tuple[int, int]],
) -> None:
    """Draw the cells that there are as a video and as a picture."""
    clip = grid.request.clip(model.spec)
    by_place = {(one.cell.row, one.cell.column): folder.files(one, grid.ending) for one in planned}

    def tile(row: int, column: int) -> np.ndarray | None:
        return read_clip(by_place[row, column], scale) if (row + 1, column + 1) in made else None

    titles, size = titles_of(grid, model.spec.title), (clip.height, clip.width)
    save_video(mosaic_frames(tile, titles, size, clip.num_frames), folder.sheet, clip.fps)
    with replacing(folder.picture) as temporary:
        mosaic_picture(tile, titles, size).save(temporary)
