"""The sheet of an evaluation: the first prompt's videos, length by length, in every way and on the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..media.contact_sheet import contact_sheet
from ..media.video import read_video
from .folder import LengthsFolder
from .tables import Data

_COLUMNS = 9


def save_sheet(data: Data, folder: LengthsFolder, path: Path) -> Path | None:
    """Draw what there is; None where there is nothing yet."""
    shown = [cell for cell in data["cells"] if _file(folder, cell).is_file()]
    if not shown:
        return None
    labels = [f"{cell['frames']} frames\n{data['variants'][cell['variant']]}" for cell in shown]
    title = data["asked"].get("prompts", ("",))[0]
    return contact_sheet(_clips(folder, shown), labels, path, title=title, num_columns=_COLUMNS, cell=96)


def _clips(folder: LengthsFolder, cells: list[dict[str, Any]]) -> Iterator[np.ndarray]:
    for cell in cells:  # one at a time, for they are large
        yield read_video(_file(folder, cell))[0]


def _file(folder: LengthsFolder, cell: dict[str, Any]) -> Path:
    return folder.cell(cell["variant"], cell["frames"]) / "1.mp4"
