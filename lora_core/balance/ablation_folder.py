"""The folder of an ablation: its clips, what was read from them, what was asked, and the report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import first_few
from ..comparison.folder import locked_folder, read_json, write_json
from ..errors import RequestError
from ..wording import Said, said

#: How much of a LoRA's name a file takes.
_MAX_NAME = 60


@dataclass(frozen=True)
class Cell:
    """One clip: with all LoRAs, or with all but one.

    Attributes:
        file: its files' name without ending.
        left_out: the LoRA that it goes without, or None.
    """

    file: str
    left_out: str | None = None

    @property
    def title(self) -> Said:
        return said("all LoRAs") if self.left_out is None else said("without {lora}", lora=self.left_out)


def cells_of(names: Iterable[str]) -> tuple[Cell, ...]:
    """Return the clip of a stack, and one without each of its LoRAs."""
    return (Cell("0-all"), *(Cell(f"{i}-without-{_plain(name)}", name) for i, name in enumerate(names, start=1)))


@dataclass(frozen=True)
class AblationFolder:
    """The places in the folder of an ablation."""

    path: Path

    @property
    def asked(self) -> Path:
        """What was asked, by which an ablation is known again."""
        return self.path / "asked.json"

    @property
    def record(self) -> Path:
        return self.path / "ablation.json"

    @property
    def table(self) -> Path:
        return self.path / "ablation.csv"

    @property
    def sheet(self) -> Path:
        return self.path / "sheet.png"

    @property
    def reference(self) -> Path:
        """The clip of the whole stack with every pixel as it was, which the others are held against."""
        return self.path / "reference.mkv"

    def clip(self, cell: Cell) -> Path:
        return self.path / f"{cell.file}.mp4"

    def readings(self, cell: Cell) -> Path:
        """Return the file that says what was read from a clip, written last."""
        return self.path / "readings" / f"{cell.file}.json"

    def is_done(self, cell: Cell) -> bool:
        """Say whether all files of a clip are there."""
        files = (self.clip(cell), self.readings(cell), *(() if cell.left_out else (self.reference,)))
        return all(file.is_file() for file in files)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other ablations out of the folder inside a block."""
        return locked_folder(self.path, self.asked, "ablation")

    def begin(self, asked: dict[str, Any]) -> None:
        """Note what is asked, or raise where the folder holds answers to something else."""
        there, asked = read_json(self.asked), json.loads(json.dumps(asked))
        own = (self.record, self.table, self.sheet, self.reference)
        if there is None and (foreign := next((file for file in own if file.exists()), None)):
            what = said("holds {name}, and is no ablation's", name=foreign.name)
            raise RequestError(self.path, what, remedy="Choose another folder")
        if there is None:
            write_json(asked, self.asked)
        elif different := [key for key in dict.fromkeys((*there, *asked)) if there.get(key) != asked.get(key)]:
            what = said("holds an ablation with other settings: {names}", names=first_few(different, 8))
            raise RequestError(self.path, what, remedy="Go on with the same, or choose another folder")


def _plain(name: str) -> str:
    """Return a name as every file system takes it."""
    return re.sub(r"[^\w.-]+", "-", name)[:_MAX_NAME].strip("-.") or "lora"
