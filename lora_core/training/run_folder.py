"""The folder of one training: its configuration, its checkpoints, its log, and the lock that keeps others out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import check_target, write_text
from ..checks import first_few
from ..errors import LoraCoreError, OutputError, TrainingError
from ..wording import said
from .checkpoints import checkpoints_in
from .clips.layout import NO_CLIPS
from .config import TrainConfig, differences, read_config

if TYPE_CHECKING:
    from filelock import BaseFileLock

#: Keys that change nothing of what is learnt; a training may go on with other values of them.
FREE_KEYS = frozenset(
    {
        "validate_every",
        "patience",
        "preview_every",
        "preview_prompts",
        "preview_seed",
        "preview_steps",
        "preview_cfg",
        "preview_negative",
        "save_every",
        "keep_last",
        "keep_every",
        "trackers",
        "device",
        "memory_plan",
    }
)
_LOCK = ".lock"


@dataclass(frozen=True)
class JobFolder:
    """The folder of a training of any kind: its places, and the lock that keeps others out."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration as it was used, every key."""
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def record(self) -> Path:
        """What a finished training has led to."""
        return self.path / "result.json"

    @property
    def plot(self) -> Path:
        return self.path / "loss.png"

    @property
    def last_checkpoint(self) -> Path | None:
        return next(reversed(checkpoints_in(self.checkpoints)), None)

    @property
    def drawn_before(self) -> tuple[str, ...]:
        """What lies there before the first step, beside the configuration."""
        return ()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder inside the block; one that fails before its first step leaves nothing.

        What the folder holds is never read as clips.
        """
        before = self._names()
        lock = self._lock()
        try:
            yield
        except LoraCoreError:
            self._remove_beginnings(before)
            raise
        finally:
            lock.release()

    def _lock(self) -> BaseFileLock:
        from filelock import FileLock, Timeout

        check_target(self.config)
        lock = FileLock(self.path / _LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            (self.path / NO_CLIPS).touch()
        except Timeout:
            what, remedy = "another training writes into this folder", "Wait for it, or choose another folder"
            raise OutputError(self.path, what, remedy=remedy) from None
        except OSError as error:
            raise OutputError(
                self.path, said("cannot be written: {error}", error=error), remedy="Choose another folder"
            ) from error
        return lock

    def _names(self) -> set[str] | None:
        """Return what lies in the folder; None where there is none."""
        return {path.name for path in self.path.iterdir()} if self.path.is_dir() else None

    def _remove_beginnings(self, before: set[str] | None) -> None:
        """Remove what has come since `before`, where that is nothing but what lies there before the first step."""
        new = (self._names() or set()) - (before or set())
        if not new <= {_LOCK, NO_CLIPS, self.config.name, *self.drawn_before}:
            return
        with suppress(OSError):  # Windows does not remove what is open
            for name in new:
                (self.path / name).unlink()
            if before is None:
                self.path.rmdir()

    def check_may_begin(self, *, resume: bool) -> None:
        """Make sure that a new training may begin here, or that there is one to go on with.

        Raises:
            OutputError: nothing can be written here.
            TrainingError: there is a training here already and `resume` is not asked for, or the other way round.
        """
        check_target(self.config)
        if resume:
            self.require()
        elif self.config.exists():
            remedy = "Pass --resume to go on with it, or choose another folder"
            raise TrainingError(self.path, "there is a training here already", remedy=remedy)

    def require(self) -> None:
        """Raise where there is no training to go on with."""
        if not self.config.is_file():
            remedy = "Leave out --resume to start one"
            raise TrainingError(self.path, "there is no training here to go on with", remedy=remedy)


class RunFolder(JobFolder):
    """The places in the folder of a training of LoRAs for videos."""

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def teacher(self) -> Path:
        """What the teacher of a `speed` training did."""
        return self.path / "teacher"

    @property
    def sheet(self) -> Path:
        """The clips as they are trained on."""
        return self.path / "clips.png"

    @property
    def drawn_before(self) -> tuple[str, ...]:
        return (self.sheet.name,)

    def begin(self, config: TrainConfig, *, resume: bool) -> None:
        """Store the configuration of a training that may begin here, or go on."""
        self.check(config, resume=resume)
        write_text(config.to_toml(), self.config)

    def check(self, config: TrainConfig, *, resume: bool) -> None:
        """Make sure that a new training may begin here, or that one to go on with is the same.

        Raises:
            OutputError: nothing can be written here.
            TrainingError: there is a training here already and `resume` is not asked for, or the other way round, or
                the configurations differ; every difference is named.
        """
        check_target(self.config)
        if self.path.resolve() == config.folder.resolve():
            raise TrainingError(self.path, "is the folder of clips itself", remedy="Choose another folder")
        self.check_may_begin(resume=resume)
        if resume:
            check_same(read_config(self.config), config, self.path)


def check_same(stored: TrainConfig, config: TrainConfig, where: object) -> None:
    """Raise unless a training may go on with a configuration, and say what differs."""
    there, here = (_binding(c.values()) for c in (stored, config))
    if stored.learning.lr_schedule == "constant" and config.learning.steps > stored.learning.steps:
        there.pop("steps"), here.pop("steps")  # more of the same
    if different := differences(there, here):
        what = said(
            "the training here has other settings: {different}", different=first_few(different, 8, between="; ")
        )
        remedy = "Go on with the same, or start anew in another folder"
        raise TrainingError(where, what, remedy=remedy)


def _binding(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in FREE_KEYS}
