"""Trackers: programs that show the log of a run while it grows, as rows of a table."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..checks import known
from ..errors import TrainingError
from .log import LogRow


class Run(NamedTuple):
    """What a tracker is told of a run.

    Attributes:
        folder: the run's own.
        name: what it is shown as.
        config: its settings, as plain values.
        last_step: the step it goes on from; 0 for a new run.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    last_step: int = 0


class Tracker(Protocol):
    """One program's view of a run."""

    def log(self, row: LogRow) -> None:
        """Show the row of a step."""

    def close(self) -> None:
        """Finish what is not written yet."""


class TensorBoard:
    """Event files in the run's folder, read by `tensorboard --logdir`."""

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # A resumed run takes the steps behind its checkpoint again: what was shown of them goes.
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.last_step + 1)
        if not run.last_step:
            self._writer.add_text("config", f"```json\n{json.dumps(run.config, indent=2, default=str)}\n```")

    def log(self, row: LogRow) -> None:
        for name, value in curves_of(row).items():
            self._writer.add_scalar(name, value, row.step)

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """Trackio's own data base in the user's cache, read by `trackio show`, or wherever its own variables say.

    It cannot forget: steps that a resumed run takes again are in it twice.
    """

    def __init__(self, run: Run) -> None:
        import trackio

        self._trackio = trackio
        with _silenced():
            self._run = trackio.init("wanloom", run.name, config=dict(run.config), resume="allow")

    def log(self, row: LogRow) -> None:
        self._run.log(curves_of(row), step=row.step)

    def close(self) -> None:
        with _silenced():
            self._trackio.finish()


class _Row(NamedTuple):
    """A tracker, and the package it needs."""

    open: Callable[[Run], Tracker]
    package: str


TRACKERS: Mapping[str, _Row] = {
    "tensorboard": _Row(TensorBoard, "tensorboard"),
    "trackio": _Row(Trackio, "trackio"),
}


def open_tracker(name: str, run: Run) -> Tracker:
    """Open a tracker by its name in `TRACKERS`."""
    row = TRACKERS[known(name, TRACKERS, "tracker", TrainingError)]
    try:
        return row.open(run)
    except ImportError as error:
        remedy = "Run `pip install 'wanloom[trackers]'`, or leave it out: the CSV and the plot need nothing"
        raise TrainingError(f"tracker {name}", f"needs the package {row.package}", remedy=remedy) from error


def curves_of(row: LogRow) -> dict[str, float]:
    """Return curve -> value of a row, the losses apart by expert; what it has no value for is left out."""
    values: dict[str, float | int | None] = {
        f"loss/{row.expert}": row.entries()["loss"],  # type: ignore[dict-item]  # a number or None
        "held_out/high_noise": row.held_out_high_noise,
        "held_out/low_noise": row.held_out_low_noise,
        f"learning_rate/{row.expert}": row.learning_rate,
        f"gradient_norm/{row.expert}": row.gradient_norm,
        "seconds": row.seconds,
        "memory_gb": None if row.memory_bytes is None else row.memory_bytes / 1e9,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep what a package prints off our standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
