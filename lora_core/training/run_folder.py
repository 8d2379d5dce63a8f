"""The folder of one training: its configuration, its checkpoints, its log, and the lock that keeps others out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import check_target, write_text
from ..checks import first_few
from ..errors import OutputError, TrainingError
from .checkpoints import checkpoints_in
from .config import TrainConfig, differences, read_config

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


@dataclass(frozen=True)
class RunFolder:
    """The places in the folder of a training."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration as it was used, every key."""
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def teacher(self) -> Path:
        """What the teacher of a `speed` training did."""
        return self.path / "teacher"

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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder inside the block."""
        from filelock import FileLock, Timeout

        check_target(self.config)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            with lock:
                yield
        except Timeout:
            what, remedy = "another training writes into this folder", "Wait for it, or choose another folder"
            raise OutputError(self.path, what, remedy=remedy) from None
        except PermissionError as error:
            raise OutputError(self.path, f"cannot be written: {error}", remedy="Choose another folder") from error

    def begin(self, config: TrainConfig, *, resume: bool) -> None:
        """Store the configuration of a new training, or make sure that one to go on with is the same.

        Raises:
            TrainingError: there is a training here already and `resume` is not asked for, or the other way round, or
                the configurations differ; every difference is named.
        """
        if not self.config.exists():
            if resume:
                remedy = "Leave out --resume to start one"
                raise TrainingError(self.path, "there is no training here to go on with", remedy=remedy)
            write_text(config.to_toml(), self.config)
            return
        if not resume:
            remedy = "Pass --resume to go on with it, or choose another folder"
            raise TrainingError(self.path, "there is a training here already", remedy=remedy)
        stored = read_config(self.config)
        check_same(stored, config, self.path)
        write_text(config.to_toml(), self.config)


def check_same(stored: TrainConfig, config: TrainConfig, where: object) -> None:
    """Raise unless a training may go on with a configuration, and say what differs."""
    there, here = (_binding(c.values()) for c in (stored, config))
    if stored.learning.lr_schedule == "constant" and config.learning.steps > stored.learning.steps:
        there.pop("steps"), here.pop("steps")  # more of the same
    if different := differences(there, here):
        what = f"the training here has other settings: {first_few(different, 8, between='; ')}"
        remedy = "Go on with the same, or start anew in another folder"
        raise TrainingError(where, what, remedy=remedy)


def _binding(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in FREE_KEYS}
