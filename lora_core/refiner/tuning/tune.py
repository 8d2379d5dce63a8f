"""The tuning of a language model on rows, from its configuration to a folder that is opened as a refiner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...checkpoints.quiet import quietly
from ...checkpoints.residency import offline
from ...errors import TrainingError
from ...training.log import RowLog
from ...wording import said
from ..rows.examples import Example, ExampleMaker, examples_of
from ..rows.read import read_rows
from .config import TuneConfig
from .ending import FIRST_LOOK, ended_share
from .extra import check_installed
from .folder import TuneFolder
from .held_out import held_out_loss
from .listener import TuneListener
from .log import TuneRow
from .network import Learner, find_base, open_learner, precision_of
from .order import order_of
from .plot import save_tune_plot
from .result import Tuned, write_record, write_refiner

if TYPE_CHECKING:
    from trl import SFTConfig

    from .watch import Watch


@dataclass(frozen=True)
class Lessons:
    """What is learnt, in order.

    Attributes:
        examples: those of the rows, behind them those of the rehearsal.
        num_rows: how many of them are rows.
        order: which comes when.
        held_out: what is only measured.
        left_out: the lines of rows that are too long.
    """

    examples: list[Example]
    num_rows: int
    order: list[int]
    held_out: list[Example]
    left_out: list[int]


def tune(
    config: TuneConfig,
    out: str | Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    listener: TuneListener | None = None,
) -> Tuned:
    """Tune a language model into a folder, or go on with it there; the same configuration leads to the same weights.

    Args:
        config: what is learnt, and how.
        out: the folder.
        resume: go on with what is there.
        stop_after: a step behind which it ends with a checkpoint, to be gone on with.
        should_stop: asked behind every step; where it says so, it ends as with `stop_after`.
        listener: who is told how it goes.

    Raises:
        TrainingError: it cannot begin, or has ruined itself, or the extra `refine` is not installed.
        DatasetError, ModelError: the rows or the model cannot be used.
        OutputError: something cannot be written; the last checkpoint is whole.
    """
    check_installed(config)
    folder, told = TuneFolder(Path(out)), listener or TuneListener()
    with quietly(), offline():
        return _tune(config, folder, resume, config.steps if stop_after is None else stop_after, should_stop, told)


def _tune(
    config: TuneConfig,
    folder: TuneFolder,
    resume: bool,
    last: int,
    should_stop: Callable[[], bool],
    listener: TuneListener,
) -> Tuned:
    folder.check(config, resume=resume)
    source = find_base(config.model)
    listener.phase(said("loading the trainer"))
    from .trainer import TuneTrainer, trainer_settings
    from .watch import Watch

    settings = trainer_settings(config, folder.path)
    listener.phase(said("opening the model"))
    learner = open_learner(config, source, settings.device)
    listener.phase(said("reading the rows"))
    lessons = lessons_of(config, learner)
    with folder.locked():
        folder.begin(config)
        checkpoint = folder.last_checkpoint if resume else None
        log = RowLog(folder.path, TuneRow, writes=settings.should_save)
        log.truncate_after(0 if checkpoint is None else int(checkpoint.name.removeprefix("step-")))
        notes: list[str] = []
        watch = Watch(
            config=config,
            log=log,
            listener=listener,
            tokens_of=_tokens_of(config, lessons),
            measure=_measure(config, learner, lessons, settings),
            look=_look(config, learner, lessons, notes, listener),
            should_stop=should_stop,
            last=last,
            last_good=lambda: _last_good(folder),
        )
        trainer = TuneTrainer(
            learner, settings, lessons.examples, lessons.order, watch, folder.checkpoints, config.keep_checkpoints
        )
        listener.phase(said("training"))
        if checkpoint is not None:
            trainer.resume(checkpoint)
        else:
            trainer.train()
        return _finished(config, folder, learner, lessons, watch, notes, listener, is_main=settings.should_save)


def lessons_of(config: TuneConfig, learner: Learner) -> Lessons:
    """Read the rows of a configuration, as its model is given them.

    Raises:
        DatasetError: rows cannot be used.
        ModelError: the model's chat template does not do.
    """
    maker = ExampleMaker(learner.source.name, learner.tokenizer, learner.end_tokens, config.system)
    most = getattr(learner.network.config, "max_position_embeddings", None) or config.max_length
    if config.max_length > most:
        what = said("{length:,} tokens, and the model has {most:,} places", length=config.max_length, most=most)
        raise TrainingError("max_length", what, remedy="Lower it")
    leaves_out = config.long_rows == "leave_out"

    def read(path: str) -> tuple[list[Example], list[int]]:
        return examples_of(read_rows(path), maker, path, config.max_length, leaves_out=leaves_out) if path else ([], [])

    rows, left_out = read(config.rows)
    held_out, _ = read(config.held_out_rows)
    rehearsal, _ = read(config.rehearsal_rows)
    if not rows:
        raise TrainingError("rows", "all of them are longer than max_length", remedy="Raise it")
    num = config.steps * config.batch_size * config.accumulation
    order = order_of(len(rows), len(rehearsal), config.rehearsal_share, num, config.seed)
    return Lessons([*rows, *rehearsal], len(rows), order, held_out, left_out)


def _tokens_of(config: TuneConfig, lessons: Lessons) -> Callable[[int], int]:
    size = config.batch_size * config.accumulation
    lengths = [len(example.input_ids) for example in lessons.examples]

    def count(step: int) -> int:
        return sum(lengths[place] for place in lessons.order[(step - 1) * size : step * size])

    return count


def _measure(config: TuneConfig, learner: Learner, lessons: Lessons, settings: SFTConfig) -> Callable[[], float] | None:
    if not lessons.held_out:
        return None
    mixed = precision_of(config, settings.device) == "mixed"
    return lambda: held_out_loss(learner.network, lessons.held_out, config.batch_size, mixed=mixed)


def _look(
    config: TuneConfig, learner: Learner, lessons: Lessons, notes: list[str], listener: TuneListener
) -> Callable[[int], None]:
    """Return what looks, once, whether a model that has begun to learn ends its answers."""

    def look(step: int) -> None:
        if step == FIRST_LOOK < config.steps and not ended_share(learner.network, lessons.examples, learner.end_tokens):
            notes.append(said("warning: after {step} steps it does not end an answer yet", step=step))
            listener.note(notes[-1])

    return look


def _last_good(folder: TuneFolder) -> str:
    last = folder.last_checkpoint
    return said("from the start") if last is None else said("from {name}", name=last.name)


def _finished(
    config: TuneConfig,
    folder: TuneFolder,
    learner: Learner,
    lessons: Lessons,
    watch: Watch,
    notes: list[str],
    listener: TuneListener,
    *,
    is_main: bool,
) -> Tuned:
    """Write what a tuning has led to, where it is over; return what there is to tell of it."""
    rows = watch.log.rows
    steps = watch.log.last_step
    ended = None
    if not watch.stopped:
        ended = ended_share(learner.network, lessons.examples, learner.end_tokens)
        if not ended:
            notes.append(said("warning: it does not end its answers; train it longer, or look at its chat template"))
            listener.note(notes[-1])
    if lessons.left_out:
        notes.append(said("{count:,} rows are too long and left out", count=len(lessons.left_out)))
    measured = [row.held_out for row in rows if row.held_out is not None]
    trained = [row for row in rows if row.loss is not None]
    tuned = Tuned(
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
        num_left_out=len(lessons.left_out),
        num_tokens=sum(watch.tokens_of(step) for step in range(1, steps + 1)),
        seconds=_seconds(rows),
        memory_bytes=max((row.memory_bytes or 0 for row in rows), default=0),
        notes=tuple(notes),
    )
    if is_main:
        listener.phase(said("saving"))
        if not watch.stopped:
            write_refiner(folder.refiner, learner, config, lessons.num_rows)
            write_record(tuned, folder.record, _facts(config))
        save_tune_plot(rows, folder.plot, title=config.name)
    return tuned


def _seconds(rows: tuple[TuneRow, ...]) -> float:
    """Return how long all steps took; a row tells what one took, of those since the row before."""
    total, before = 0.0, 0
    for row in rows:
        total += (row.seconds or 0.0) * (row.step - before)
        before = row.step
    return total


def _facts(config: TuneConfig) -> dict[str, Any]:
    from ...training.environment import environment

    return {"config": config.values(), "environment": environment()}
