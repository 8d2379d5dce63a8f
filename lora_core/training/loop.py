"""The loop of a training: steps in turns, measurements, previews and checkpoints when they are due.

It knows no family of models and no kind of data: learners bring their batches and their losses with them.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from ..experts import Expert
from ..wording import expert_of, said
from .checkpoints import checkpoint_name, checkpoints_in, prune, read_checkpoint, restore_random_state, write_checkpoint
from .guard import Guard
from .learner import Learner, StepResult
from .listener import Listener, StepReport
from .log import LogRow, RunLog
from .memory.peak import peak_bytes
from .ranks import Alone, Ranks
from .settings.watching import WatchingSettings
from .trackers import Tracker
from .turns import Turns
from .validation import History, Measured

#: Steps whose mean time is told.
_WINDOW = 20


@dataclass(frozen=True)
class Hooks:
    """What a loop calls for what it does not know.

    Attributes:
        measure: expert -> its held-out loss; None where nothing is held out.
        preview: shows what has been learnt after a number of steps; None for never.
        write: returns what puts further files into a checkpoint's folder. Every process calls it, to give its part of
            what is written, and the main one calls what it returns.
        draw: draws what is logged.
        should_stop: whether somebody wants an end after this step.
    """

    measure: Callable[[Learner], float] | None = None
    preview: Callable[[int], object] | None = None
    write: Callable[[], Callable[[Path], object]] = lambda: lambda folder: None
    draw: Callable[[RunLog], object] = lambda log: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass
class Loop:
    """A training between two of its steps.

    Attributes:
        step: optimiser steps done, of all experts together.
        stopped: why it ended before its last step; "" while it has not.
        is_over: whether nothing is left to do: all steps are done, or the held-out loss has long been falling no more.
    """

    learners: Mapping[Expert, Learner]
    turns: Turns
    num_steps: int
    settings: WatchingSettings
    checkpoints: Path
    log: RunLog
    listener: Listener
    hooks: Hooks
    identity: Mapping[str, str]
    trackers: Sequence[Tracker] = ()
    ranks: Ranks = field(default_factory=Alone)
    step: int = 0
    stopped: str = ""
    is_over: bool = False
    history: History = field(default_factory=History)
    _guards: dict[Expert, Guard] = field(default_factory=lambda: defaultdict(Guard))
    _losses: dict[Expert, list[float]] = field(default_factory=lambda: defaultdict(list))
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _active: Expert | None = None

    def run(self, stop_after: int | None = None) -> None:
        """Do the steps that are left, or as many as lie before `stop_after`; a checkpoint is made where it ends."""
        if self.step == 0 and not self.log.rows:
            self._log(LogRow(step=0, expert=self.turns.at(0), **self._measure()))
            self._preview()
        while self.step < self.num_steps and not self.stopped:
            row = self._one_step()
            is_due = self._is_due(self.settings.validate_every)
            self._log(replace(row, **self._measure()) if is_due else row)
            if self._is_due(self.settings.preview_every):
                self._preview()
            self.stopped = self._reason_to_stop(stop_after)
            if self.stopped or self.step == self.num_steps or self._is_to_be_kept():
                self.save()
        self.is_over = self.is_over or self.step == self.num_steps

    def load_best(self) -> None:
        """Let the learners be what they were when the held-out loss was least, if that checkpoint is there."""
        best = self.history.best
        path = None if best is None else self.checkpoints / checkpoint_name(best.step)
        if path is not None and path.is_dir():
            state = read_checkpoint(path)
            for expert, learner in self.learners.items():
                learner.load_state(state["learners"][expert], with_optimizer=False)

    def save(self) -> None:
        """Make a checkpoint of where the loop is; the main process does, and the others wait for it."""
        self.listener.phase(said("saving a checkpoint"))
        state, write = self._state(), self.hooks.write()
        with self.ranks.as_one():
            if self.ranks.is_main:
                self._write(state, write)

    def _write(self, state: Mapping[str, Any], write: Callable[[Path], object]) -> None:
        write_checkpoint(self.checkpoints, self.step, state, write)
        best = self.history.best
        also = None if best is None else self.checkpoints / checkpoint_name(best.step)
        prune(self.checkpoints, keep_last=self.settings.keep_last, keep_every=self.settings.keep_every, also=also)

    @property
    def is_whole(self) -> bool:
        """Whether a checkpoint made now would be that of the steps that are done."""
        return all(learner.is_whole for learner in self.learners.values())

    def resume(self, path: Path, *, with_optimizer: bool = True) -> None:
        """Go on from a checkpoint; what was logged behind it is forgotten."""
        self.listener.phase(said("going on from {name}", name=path.name))
        with self.ranks.as_one():
            state = self._read(path)
        for expert, learner in self.learners.items():
            learner.load_state(state["learners"][expert], with_optimizer=with_optimizer)
            learner.rest()
        self.step = state["step"]
        self.history = History.from_state(state["history"])
        self._losses = defaultdict(list, {expert: list(losses) for expert, losses in state["losses"].items()})
        self._guards = defaultdict(Guard, {expert: Guard(recent) for expert, recent in state["guards"].items()})
        self.log.truncate_after(self.step)
        restore_random_state(state["random"])

    def _read(self, path: Path) -> dict[str, Any]:
        state = read_checkpoint(path)
        for name, value in self.identity.items():
            if state["identity"].get(name) != value:
                what = said("the {name} changed since this training began", name=name)
                raise TrainingError(
                    path, what, remedy=said("Put the {name} back as it was, or start anew elsewhere", name=name)
                )
        return state

    def _state(self) -> dict[str, Any]:
        return {
            "identity": dict(self.identity),
            "learners": {expert: learner.state() for expert, learner in self.learners.items()},
            "history": self.history.state(),
            "losses": {expert: list(losses) for expert, losses in self._losses.items()},
            "guards": {expert: guard.state() for expert, guard in self._guards.items()},
        }

    def _one_step(self) -> LogRow:
        expert = self.turns.at(self.step)
        if expert != self._active:
            self.listener.phase(_training(expert))
        learner = self._turn_to(expert)
        started = time.perf_counter()
        result = learner.step()
        self._seconds.append(time.perf_counter() - started)
        try:
            self._guards[expert].check(f"step {self.step + 1}", result.loss, result.grad_norm, self._last_good)
        except TrainingError:
            with self.ranks.as_one():  # all see the same, and one tells of it
                raise
        self.step += 1
        self._losses[expert].append(result.loss)
        report = self._report(expert, result)
        self.listener.step(report)
        return LogRow(
            step=self.step,
            expert=expert,
            loss=result.loss,
            learning_rate=result.lr,
            gradient_norm=result.grad_norm,
            seconds=self._seconds[-1],
            memory_bytes=report.num_bytes,
        )

    def _log(self, row: LogRow) -> None:
        self.log.append(row)
        for tracker in self.trackers:
            tracker.log(row)
        is_measured = row.held_out_low_noise is not None or row.held_out_high_noise is not None
        if self.ranks.is_main and (is_measured or self.step == self.num_steps):
            self.hooks.draw(self.log)

    def _turn_to(self, expert: Expert) -> Learner:
        if self._active is not None and self._active != expert:
            self.learners[self._active].rest()
        self._active = expert
        return self.learners[expert]

    def _report(self, expert: Expert, result: StepResult) -> StepReport:
        seconds = sum(self._seconds) / len(self._seconds)
        left = self.num_steps - self.step
        return StepReport(
            self.step, self.num_steps, expert, result.loss, result.lr, seconds, left * seconds, peak_bytes()
        )

    def _measure(self) -> dict[str, Any]:
        """Measure the held-out losses, and return them as a row of the log has them."""
        if self.hooks.measure is None or not self.settings.validate_every:
            return {}
        with self._aside(said("measuring the held-out loss")):
            held_out = {expert: self.hooks.measure(self._turn_to(expert)) for expert in self.learners}
        trained = {expert: sum(losses) / len(losses) for expert, losses in self._losses.items() if losses}
        self._losses.clear()
        measured = Measured(self.step, held_out, trained)
        self.history.rows.append(measured)
        self.listener.measured(measured)
        if verdict := self.history.verdict():
            self.listener.note(verdict)
        return {f"held_out_{expert}": loss for expert, loss in held_out.items()}

    def _preview(self) -> None:
        if self.hooks.preview is not None and self.settings.preview_every:
            with self._aside(said("making previews")):
                self.hooks.preview(self.step)

    @contextmanager
    def _aside(self, what: str) -> Iterator[None]:
        """Do something that is no step, and say what."""
        self.listener.phase(what)
        yield
        if self._active is not None:
            self.listener.phase(_training(self._active))

    def _is_due(self, every: int, *, at_end: bool = True) -> bool:
        return bool(every) and (self.step % every == 0 or (at_end and self.step == self.num_steps))

    def _is_to_be_kept(self) -> bool:
        """Say whether a checkpoint is due, or this step was just found to be the best so far."""
        best = self.history.best
        is_best = best is not None and best.step == self.step and self.settings.save_every > 0
        return is_best or self._is_due(self.settings.save_every, at_end=False)

    def _reason_to_stop(self, stop_after: int | None) -> str:
        patience = self.settings.patience
        if patience and self.history.worse_in_a_row() >= patience and self.step < self.num_steps:
            self.is_over = True
            return f"the held-out loss has not fallen in {patience} measurements"
        if stop_after is not None and self.step >= stop_after and self.step < self.num_steps:
            return f"asked to stop after {stop_after} steps"
        is_asked = self.ranks.any(self.hooks.should_stop())
        return "asked to stop" if is_asked and self.step < self.num_steps else ""

    def _last_good(self) -> str:
        saved = checkpoints_in(self.checkpoints)
        return f"from {saved[-1]}, the last good checkpoint" if saved else "from the start; no checkpoint was made yet"


def _training(expert: Expert) -> str:
    return said("training the {expert} expert", expert=expert_of(expert))
