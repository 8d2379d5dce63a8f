"""The tuning of a language model on rows, from its configuration to a folder that is opened as a refiner."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...checkpoints.quiet import quietly
from ...checkpoints.residency import offline
from ...errors import TrainingError
from ...training.checkpoints import step_of
from ...training.environment import environment
from ...training.log import RowLog
from ...training.ranks import Alone, Ranks
from ...wording import said
from .config import TuneConfig
from .ending import FIRST_LOOK, ended_share
from .extra import check_installed
from .folder import TuneFolder
from .held_out import held_out_loss
from .inputs import check_inputs, inputs_of, write_inputs
from .lessons import Lessons, lessons_of
from .listener import TuneListener
from .log import TuneRow
from .network import Learner, find_base, open_learner, precision_of
from .plot import save_tune_plot
from .result import Tuned, write_record, write_refiner

if TYPE_CHECKING:
    from trl import SFTConfig

    from .watch import Watch


def tune(
    config: TuneConfig,
    out: str | Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    listener: TuneListener | None = None,
    ranks: Ranks | None = None,
) -> Tuned:
    """Tune a language model into a folder, or go on with it there; the same configuration leads to the same weights.

    Args:
        config: what is learnt, and how.
        out: the folder.
        resume: go on with what is there.
        stop_after: a step behind which it ends with a checkpoint, to be gone on with.
        should_stop: asked behind every step; where it says so, it ends as with `stop_after`.
        listener: who is told how it goes.
        ranks: this process among those that tune together; `find_ranks` finds them. The main one alone writes.

    Raises:
        TrainingError: it cannot begin, or has ruined itself, or the extra `refine` is not installed.
        DatasetError, ModelError: the rows or the model cannot be used.
        OutputError: something cannot be written; the last checkpoint is whole.
    """
    check_installed(config)
    folder = TuneFolder(Path(out))
    job = _Job(config, folder, ranks or Alone(), listener or TuneListener(), should_stop, resume)
    with quietly():
        return job.run(config.steps if stop_after is None else stop_after)


def check_tuning(config: TuneConfig, out: str | Path, *, resume: bool = False) -> None:
    """Raise where it is known before any weight is read that a tuning cannot begin, or go on; errors as of `tune`."""
    check_installed(config)
    TuneFolder(Path(out)).check(config, resume=resume)
    lessons_of(config, find_base(config.model))


@dataclass
class _Job:
    """One tuning, in one process of those that work on it."""

    config: TuneConfig
    folder: TuneFolder
    ranks: Ranks
    listener: TuneListener
    should_stop: Callable[[], bool]
    resume: bool
    notes: list[str] = field(default_factory=list)

    def run(self, last: int) -> Tuned:
        """Do all of it, up to a step."""
        ranks, told = self.ranks, self.listener
        with ranks.as_one():
            if ranks.is_main:
                self.folder.check(self.config, resume=self.resume)
            source = find_base(self.config.model)
            told.phase(said("reading the rows"))
            lessons = lessons_of(self.config, source)
            for note in lessons.report.notes():
                self._note(note)
            inputs = inputs_of(self.config, source)
            if self.resume:
                check_inputs(inputs, self.folder.inputs)
        with self._locked():
            with ranks.as_one():
                if ranks.is_main:
                    self.folder.check(self.config, resume=self.resume)  # again, now that nobody else can begin here
                    self.folder.begin(self.config)
                    write_inputs(inputs, self.folder.inputs)
            told.phase(said("loading the trainer"))
            from .trainer import trainer_settings

            settings = trainer_settings(self.config, self.folder.path, ranks)
            told.phase(said("opening the model"))
            with offline(), ranks.as_one():
                learner = open_learner(self.config, source, lessons.maker, settings.device)
            watch = self._train(settings, learner, lessons, last)
            return self._finished(learner, lessons, watch)

    def _locked(self) -> AbstractContextManager[None]:
        return self.folder.locked() if self.ranks.is_main else nullcontext()

    def _train(self, settings: SFTConfig, learner: Learner, lessons: Lessons, last: int) -> Watch:
        """Take the steps that are left."""
        from .trainer import TuneTrainer
        from .watch import Watch

        checkpoint = self.folder.last_checkpoint if self.resume else None
        done = 0 if checkpoint is None else step_of(checkpoint)
        if done < self.config.steps or self.folder.refiner.exists():
            _check_last(done, last, self.config.steps)
        log = RowLog(self.folder.path, TuneRow, writes=self.ranks.is_main)
        log.truncate_after(done)
        watch = Watch(
            config=self.config,
            log=log,
            listener=self.listener,
            tokens_of=lessons.num_tokens,
            measure=self._measure(learner, lessons, settings),
            look=lambda step: self._look(step, learner, lessons),
            should_stop=lambda: self.ranks.any(self.should_stop()),
            last=last,
            last_good=self._last_good,
        )
        with offline():
            trainer = TuneTrainer(
                learner,
                settings,
                lessons.examples,
                lessons.order,
                watch,
                self.folder.checkpoints,
                self.config.keep_checkpoints,
            )
        self.listener.phase(said("training"))
        trainer.go(checkpoint)
        return watch

    def _measure(self, learner: Learner, lessons: Lessons, settings: SFTConfig) -> Callable[[], float] | None:
        if not lessons.held_out:
            return None
        mixed = precision_of(self.config, settings.device) == "mixed"
        return lambda: held_out_loss(learner.network, lessons.held_out, self.config.batch_size, mixed=mixed)

    def _look(self, step: int, learner: Learner, lessons: Lessons) -> None:
        """Look, once, whether a model that has begun to learn ends its answers."""
        if step == FIRST_LOOK < self.config.steps and not ended_share(
            learner.network, lessons.examples, lessons.maker.end_tokens
        ):
            self._note(said("warning: after {step} steps it does not end an answer yet", step=step))

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.listener.note(text)

    def _last_good(self) -> str:
        last = self.folder.last_checkpoint
        return said("from the start") if last is None else said("from {name}", name=last.name)

    def _finished(self, learner: Learner, lessons: Lessons, watch: Watch) -> Tuned:
        """Write what a tuning has led to, where it is over; return what there is to tell of it."""
        ended = None
        if not watch.stopped:
            ended = ended_share(learner.network, lessons.examples, lessons.maker.end_tokens)
            if not ended:
                self._note(said("warning: it does not end its answers; train it longer, or look at its chat template"))
        tuned = _tuned(self.folder, learner, lessons, watch, ended, tuple(self.notes))
        with self.ranks.as_one():
            if self.ranks.is_main:
                self._write(tuned, learner, lessons, watch)
        return tuned

    def _write(self, tuned: Tuned, learner: Learner, lessons: Lessons, watch: Watch) -> None:
        self.listener.phase(said("saving"))
        if not watch.stopped:
            write_refiner(self.folder.refiner, learner, self.config, lessons.maker.system, tuned.num_rows)
            write_record(tuned, self.folder.record, {"config": self.config.values(), "environment": environment()})
        save_tune_plot(watch.log.rows, self.folder.plot, title=self.config.name)


def _check_last(done: int, last: int, steps: int) -> None:
    """Raise where there is no step left to take."""
    if done >= min(last, steps):
        what = said("{done} steps are done already", done=done)
        remedy = said("Raise {key}, or start anew in another folder", key="steps" if done >= steps else "stop_after")
        raise TrainingError("training", what, remedy=remedy)


def _tuned(
    folder: TuneFolder, learner: Learner, lessons: Lessons, watch: Watch, ended: float | None, notes: tuple[str, ...]
) -> Tuned:
    rows, steps = watch.log.rows, watch.log.last_step
    measured = [row.held_out for row in rows if row.held_out is not None]
    trained = [row for row in rows if row.loss is not None]
    return Tuned(
        folder=folder.path,
        refiner=None if watch.stopped else folder.refiner,
        steps=steps,
        stopped=watch.stopped,
        loss=trained[-1].loss if trained else None,
        held_out=(measured[0], measured[-1]) if len(measured) > 1 else None,
        ended=ended,
        num_trainable=learner.num_trainable,
        num_parameters=learner.num_parameters,
        num_rows=lessons.num_rows,
        num_left_out=lessons.num_left_out,
        num_tokens=sum(lessons.num_tokens(step) for step in range(1, steps + 1)),
        seconds=_seconds(rows),
        memory_bytes=max((row.memory_bytes or 0 for row in rows), default=0),
        notes=notes,
    )


def _seconds(rows: tuple[TuneRow, ...]) -> float:
    """Return how long all steps took; a row tells what one took, of those since the row before."""
    total, before = 0.0, 0
    for row in rows:
        total += (row.seconds or 0.0) * (row.step - before)
        before = row.step
    return total
