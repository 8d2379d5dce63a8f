"""The folder of a comparison: its trainings, its videos, what was found, and the lock that keeps others out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import check_target, write_text
from ..errors import OutputError, TrainingError
from ..training.clips.layout import NO_CLIPS
from ..training.run_folder import RunFolder
from .config import Run

_LOCK = ".lock"


@dataclass(frozen=True)
class JobsFolder:
    """A folder in which processes do jobs."""

    path: Path

    def output(self, job: str) -> Path:
        """Return where what a process printed is kept."""
        return self.path / "output" / f"{job}.txt"


@dataclass(frozen=True)
class ComparisonFolder(JobsFolder):
    """The places in the folder of a comparison."""

    @property
    def config(self) -> Path:
        """What is compared, every key."""
        return self.path / "comparison.toml"

    @property
    def data(self) -> Path:
        """What was found: all that the report is made from."""
        return self.path / "comparison.json"

    @property
    def report(self) -> Path:
        return self.path / "comparison.md"

    @property
    def prepared(self) -> Path:
        """What the clips are, and what the base loses on those held out."""
        return self.path / "base.json"

    def run(self, run: Run) -> RunFolder:
        """Return the folder of one training."""
        return RunFolder(self.path / "runs" / run.name)

    def judged(self, run: Run) -> Path:
        """Return the file that says what a training has led to; a training that has it is done with."""
        return self.run(run).path / "judged.json"

    def sessions(self, run: Run) -> Path:
        """Return the file that says what the processes took that trained it."""
        return self.run(run).path / "sessions.json"

    def videos(self, subject: str) -> Path:
        """Return the folder of the videos by which something is judged."""
        return self.path / "videos" / subject

    def readings(self, subject: str) -> Path:
        """Return the file that says what was read from them."""
        return self.videos(subject) / "readings.json"

    def locked(self) -> AbstractContextManager[None]:
        """Keep other comparisons out of the folder inside a block; what it holds is never read as clips."""
        return locked_folder(self.path, self.data, "comparison")


@contextmanager
def locked_folder(path: Path, data: Path, called: str) -> Iterator[None]:
    """Make the folder of a run, and keep other runs out of it inside the block.

    Args:
        path: the folder.
        data: a file that will be written into it.
        called: what such a run is.

    Raises:
        OutputError: another one is at work in it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    check_target(data)
    lock = FileLock(path / _LOCK, timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        (path / NO_CLIPS).touch()
    except Timeout:
        what, remedy = f"another {called} writes into this folder", "Wait for it, or choose another folder"
        raise OutputError(path, what, remedy=remedy) from None
    except OSError as error:
        raise OutputError(path, f"cannot be written: {error}", remedy="Choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file of ours holds; None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TrainingError(path, "is damaged", remedy="Remove it; what it held is found out again") from error
    if not isinstance(found, dict):
        raise TrainingError(path, "is damaged", remedy="Remove it; what it held is found out again")
    return found


def write_json(found: Mapping[str, Any], path: Path) -> None:
    """Write a file whole or not at all."""
    write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)
