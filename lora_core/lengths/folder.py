"""The folder of an evaluation: a folder for each cell, what was asked, and the report."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import first_few
from ..comparison.folder import locked_folder, read_json, write_json
from ..errors import RequestError


@dataclass(frozen=True)
class LengthsFolder:
    """The places in the folder of an evaluation."""

    path: Path

    @property
    def asked(self) -> Path:
        """What all cells have in common."""
        return self.path / "asked.json"

    @property
    def report(self) -> Path:
        return self.path / "lengths.md"

    def cell(self, variant: str, num_frames: int) -> Path:
        """Return the folder of a cell, its videos numbered by the prompts."""
        return self.path / "videos" / f"{variant}-{num_frames}"

    def readings(self, variant: str, num_frames: int) -> Path:
        """Return the file that says what was read from them; a cell that has it is done with."""
        return self.cell(variant, num_frames) / "readings.json"

    def locked(self) -> AbstractContextManager[None]:
        """Keep other evaluations out of the folder inside a block."""
        return locked_folder(self.path, self.asked, "evaluation")

    def begin(self, asked: dict[str, Any]) -> None:
        """Note what is asked, or raise where the folder holds answers to something else."""
        there = read_json(self.asked)
        if there is None:
            write_json(asked, self.asked)
        elif different := [key for key in dict.fromkeys((*there, *asked)) if there.get(key) != asked.get(key)]:
            what = f"holds an evaluation with other settings: {first_few(different, 8)}"
            raise RequestError(self.path, what, remedy="Go on with the same, or evaluate into another folder")
