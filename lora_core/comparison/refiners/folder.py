"""The folder of a comparison of refiners: its rows and questions, its trainings, and what was found."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ...refiner.tuning.folder import TuneFolder
from ..folder import JobsFolder, locked_folder
from .config import Run


@dataclass(frozen=True)
class RefinersFolder(JobsFolder):
    """The places in the folder of a comparison of refiners."""

    @property
    def config(self) -> Path:
        """What is compared, every key."""
        return self.path / "comparison.toml"

    @property
    def data(self) -> Path:
        """What was found: all that the report is made from."""
        return self.path / "refiners.json"

    @property
    def report(self) -> Path:
        return self.path / "refiners.md"

    @property
    def rows(self) -> Path:
        """The rows that are learnt, in new words."""
        return self.path / "rows.jsonl"

    @property
    def rehearsal(self) -> Path:
        """The rows that are rehearsed, in known words."""
        return self.path / "rehearsal.jsonl"

    def questions(self, name: str) -> Path:
        """Return the file of a set of questions."""
        return self.path / "questions" / f"{name}.jsonl"

    @property
    def base(self) -> Path:
        """What the rows and questions are."""
        return self.path / "base.json"

    def baseline(self, name: str) -> Path:
        """Return the file of what a way without tuning has answered."""
        return self.path / "baselines" / f"{name}.json"

    def run(self, run: Run) -> TuneFolder:
        """Return the folder of one training."""
        return TuneFolder(self.path / "runs" / run.name)

    def judged(self, run: Run) -> Path:
        """Return the file that says what a training has led to; a training that has it is done with."""
        return self.run(run).path / "judged.json"

    @property
    def videos(self) -> Path:
        """What was read from videos, text by text."""
        return self.path / "videos.json"

    def locked(self) -> AbstractContextManager[None]:
        """Keep other comparisons out of the folder inside a block."""
        return locked_folder(self.path, self.data, "comparison")
