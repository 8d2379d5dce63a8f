"""What is measured of the cells of a grid, read from their files: a table with a line for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..families.opened import OpenedModel
from ..media.measures import MEASURES, measured, similarity
from ..media.video import read_video
from .folder import CellFiles

#: What tells how much of its own a cell is, beside the measures of every video.
SIMILARITY = "similarity"
#: The columns of the table before and behind the measures.
_BEFORE = ("row", "column", "row_value", "column_value", "file")
_BEHIND = ("steps_run", "seconds", "latents_sha256")


def read_clip(files: CellFiles, scale: int) -> np.ndarray:
    """Return the frames (T, H, W, 3) uint8 of a cell's file, as large as they were made."""
    frames = read_video(files.clip)[0]
    return frames[:, scale // 2 :: scale, scale // 2 :: scale]


def measures_of(frames: np.ndarray, first: np.ndarray | None) -> dict[str, float]:
    """Return what is measured of a clip (T, H, W, 3) uint8 and of its likeness to the grid's first one, by name."""
    found = measured(frames) if len(frames) > 1 else {}  # a picture stands still
    if first is not None and first.shape == frames.shape:
        found[SIMILARITY] = similarity(frames, first)
    return found


def meaning_of(frames: np.ndarray, prompt: str, model: OpenedModel) -> dict[str, float]:
    """Return how much of its prompt a clip shows, where it is one of the embedded model and of its own size."""
    from ..lengths.meaning import is_embedded, read_meaning

    default = model.spec.default_clip
    is_readable = is_embedded(model) and frames.shape[1:3] == (default.height, default.width)
    return read_meaning(frames, prompt) if is_readable else {}


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of cells as comma-separated values; a column for each thing that any of them has."""
    from ..lengths.meaning import MEANINGS

    measures = [*MEASURES, SIMILARITY, *MEANINGS]
    found = [name for name in measures if any(name in row["measures"] for row in rows)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_BEFORE, *found, *_BEHIND])
    for row in rows:
        values = (row["measures"].get(name) for name in found)
        told = ["" if value is None else f"{value:.6g}" for value in values]
        writer.writerow([*(row[name] for name in _BEFORE), *told, *(row[name] for name in _BEHIND)])
    return out.getvalue()
