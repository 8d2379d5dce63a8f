"""What the command line shows of a tuning: to people a line that moves, to programs lines of JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from ..checks import time_text
from ..refiner.tuning.listener import TuneListener, TuneStep
from ..wording import said
from .training_lines import TrainingLines
from .training_status import TrainingStatus

if TYPE_CHECKING:
    from ..refiner.tuning.result import Tuned


class TuningStatus(TrainingStatus):
    """A tuning's phase, step, speed, time left, loss and memory."""

    @property
    def listener(self) -> TuneListener:
        """Who hears of the tuning in its place."""
        return _ToPeople(self)

    def done(self, tuned: Tuned) -> None:  # type: ignore[override]  # of another kind of training
        """Print what a tuning has led to, or how to go on with it."""
        if tuned.refiner is None:
            self._console.result(f"{tuned.steps} steps are done: {tuned.stopped}")
            self._console.result(f"go on with: lora-core refine train -o {tuned.folder} --resume")
            return
        self._console.result(
            f"{tuned.refiner}: {tuned.num_trainable:,} of {tuned.num_parameters:,} numbers have learnt"
        )
        for line in summary_of(tuned):
            self._console.result(line)


def summary_of(tuned: Tuned) -> list[str]:
    """Return what a tuning has led to, in a few lines."""
    took = time_text(tuned.seconds)
    lines = [
        said(
            "{count} steps in {time}, {seconds:.2f} s each",
            count=tuned.steps,
            time=took,
            seconds=tuned.seconds_per_step,
        )
    ]
    if tuned.held_out is not None:
        before, after = (f"{loss:.4f}" for loss in tuned.held_out)
        lines.append(said("held-out loss: {before} before, {after} after", before=before, after=after))
    if tuned.ended is not None:
        lines.append(said("answers to learnt rows that end: {share:.0%}", share=tuned.ended))
    return list(lines)


class _ToPeople(TuneListener):
    def __init__(self, status: TuningStatus) -> None:
        self._status = status

    def phase(self, what: str) -> None:
        self._status.phase(what)

    def step(self, step: TuneStep) -> None:
        told = (
            f"loss {step.loss:.4f}, {step.seconds:.2f} s/step, {step.tokens_per_second:,.0f} tokens/s, "
            f"{time_text(step.remaining)} left, {step.num_bytes / 2**30:.1f} GiB"
        )
        self._status.progress_of_steps(step.step, step.num_steps, told)

    def measured(self, step: int, loss: float) -> None:
        self._status.note(f"held-out loss after step {step}: {loss:.4f}")

    def note(self, text: str) -> None:
        self._status.note(text)


class TuningLines(TrainingLines):
    """A tuning told in lines of JSON; `is_unheard` once nobody reads them any more."""

    @property
    def listener(self) -> TuneListener:
        """Who hears of the tuning in its place."""
        return _ToPrograms(self)

    def done(self, tuned: Tuned) -> None:  # type: ignore[override]  # of another kind of training
        """Tell what a tuning has led to."""
        told = tuned.to_dict() | {"folder": str(tuned.folder)}
        self.tell("done", **told | {"refiner": None if tuned.refiner is None else str(tuned.refiner)})


class _ToPrograms(TuneListener):
    def __init__(self, lines: TuningLines) -> None:
        self._lines = lines

    def phase(self, what: str) -> None:
        self._lines.phase(what)

    def step(self, step: TuneStep) -> None:
        self._lines.tell("step", **asdict(step))

    def measured(self, step: int, loss: float) -> None:
        self._lines.tell("measured", step=step, held_out=loss)

    def note(self, text: str) -> None:
        self._lines.note(text)
