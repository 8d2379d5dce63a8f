"""What the command line shows of a training: a line that moves in a terminal, lines one below the other elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ..checks import time_text
from ..training.listener import Listener, StepReport
from ..training.validation import Measured
from .console import Console

if TYPE_CHECKING:
    from ..training.train import Trained

#: Seconds between two lines where nothing can move.
_PAUSE = 10.0


class TrainingStatus(Listener):
    """A training's phase, step, speed, time left, loss and memory.

    The spinner and the clock of a phase run on by themselves, so that it shows for how long nothing else has moved.
    """

    is_unheard = False

    def __init__(self, console: Console) -> None:
        self._console = console
        self._moves = console.err.is_terminal and not console.quiet
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}"),
        )
        self._bars = Progress(*columns, console=console.err, disable=not self._moves)
        self._tasks: dict[str, TaskID] = {}
        self._phase: TaskID | None = None
        self._last_line = 0.0

    @contextmanager
    def shown(self) -> Iterator[TrainingStatus]:
        """Show it inside the block."""
        with self._bars:
            yield self

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Leave errors to the program, which ends with them."""
        yield

    def phase(self, what: str) -> None:
        if not self._moves:
            if not what.startswith("training"):  # the experts' turns would fill a log, and each step names its own
                self._console.note(f"{what} …")
            return
        if self._phase is not None:
            self._bars.remove_task(self._phase)
        self._phase = self._bars.add_task(what, total=None, told="")

    def progress(self, done: int, total: int, what: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, told="")
        task = self._tasks[what]
        speed = self._bars.tasks[self._bars.task_ids.index(task)].speed
        told = f"{speed:.1f}/s, {time_text((total - done) / speed)} left" if speed and done < total else ""
        self._bars.update(task, completed=done, total=total, told=told)
        if not self._moves and (done == total or self._is_time_for_a_line()):
            self._console.note(f"{what}: {done} of {total}")

    def step(self, report: StepReport) -> None:
        told = (
            f"{report.expert.removesuffix('_noise')} loss {report.loss:.4f}, {report.seconds:.2f} s/step, "
            f"{time_text(report.remaining)} left, {report.num_bytes / 2**30:.1f} GiB"
        )
        self.progress_of_steps(report.step, report.num_steps, told)

    def progress_of_steps(self, step: int, num_steps: int, told: str) -> None:
        """Show how far the training is."""
        if "steps" not in self._tasks:
            self._tasks["steps"] = self._bars.add_task("steps", total=num_steps, told="")
        self._bars.update(self._tasks["steps"], completed=step, total=num_steps, told=told)
        if not self._moves and (step == num_steps or self._is_time_for_a_line()):
            self._console.note(f"step {step} of {num_steps}: {told}")

    def measured(self, measured: Measured) -> None:
        losses = ", ".join(f"{expert.removesuffix('_noise')} {loss:.4f}" for expert, loss in measured.held_out.items())
        self._console.note(f"held-out loss after step {measured.step}: {losses}")

    def note(self, text: str) -> None:
        self._console.note(text)

    def previewed(self, step: int, sheet: Path) -> None:
        """Say nothing: the sheet lies in the folder of the training."""

    def done(self, trained: Trained) -> None:
        """Print what a training has led to, or how to go on with it."""
        for expert, file in trained.files.items():
            self._console.result(f"{file}: {expert}")
        if not trained.files:
            self._console.result(f"{trained.step} steps are done: {trained.stopped}")
            self._console.result(f"go on with: lora-core train -o {trained.folder.path} --resume")

    def _is_time_for_a_line(self) -> bool:
        now = time.monotonic()
        if now - self._last_line < _PAUSE:
            return False
        self._last_line = now
        return True
