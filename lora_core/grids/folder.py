"""The folder of a grid: its cells, each known by the hash of its recipe, and what is made of all of them."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..comparison.folder import locked_folder
from ..errors import OutputError
from ..wording import said
from .planned import PlannedCell

_HASH_LETTERS, _NAME_LETTERS = 10, 40
_CELLS = "cells"


@dataclass(frozen=True)
class GridFolder:
    """The places in the folder of a grid."""

    path: Path

    @property
    def recipe(self) -> Path:
        """What was made of what, and how each cell is made again."""
        return self.path / "grid.json"

    @property
    def sheet(self) -> Path:
        """All cells, playing together."""
        return self.path / "sheet.mp4"

    @property
    def picture(self) -> Path:
        """Some frames of each cell."""
        return self.path / "sheet.png"

    @property
    def table(self) -> Path:
        """What was measured of each cell."""
        return self.path / "cells.csv"

    def check(self) -> None:
        """Raise where the folder holds what is no grid's and would be written over."""
        if self.recipe.exists() or self.path.joinpath(_CELLS).is_dir():
            return
        if foreign := next((file for file in (self.sheet, self.picture, self.table) if file.exists()), None):
            what = said("holds {name}, and is no grid's", name=foreign.name)
            raise OutputError(self.path, what, remedy="Choose another folder")

    def locked(self) -> AbstractContextManager[None]:
        """Keep other grids out of the folder inside a block."""
        return locked_folder(self.path, self.recipe, "grid")

    def files(self, planned: PlannedCell, ending: str) -> CellFiles:
        """Return where a cell's files lie, or will: under a name that tells its values and its recipe."""
        folder, recipe = self.path / _CELLS, planned.recipe[:_HASH_LETTERS]
        known = next(folder.glob(f"*-{recipe}{ending}"), None)
        words = "-".join(filter(None, map(_as_name, (planned.cell.row_label, planned.cell.column_label))))
        return CellFiles(known or folder / f"{words or 'cell'}-{recipe}{ending}")


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell."""

    clip: Path

    @property
    def record(self) -> Path:
        """Every setting, hash and timing, as `generate --json` writes it."""
        return self.clip.with_name(f"{self.clip.stem}.json")

    @property
    def stack(self) -> Path:
        """The LoRAs, as `generate --stack` reads them."""
        return self.clip.with_name(f"{self.clip.stem}.stack.json")


def _as_name(label: str) -> str:
    """Return a label as every file system takes it."""
    return re.sub(r"[^\w.,=+]+", "-", label).strip("-.")[:_NAME_LETTERS]
