"""The training of LoRAs, or of whole weights, on a folder of clips: one or both experts of a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from ..checks import first_line
from ..errors import TrainingError
from ..experts import Expert
from ..families.opened import OpenedModel
from .assembly import Source, make_learner, make_sources, make_teacher, text_tokens, turns_of
from .checkpoints import step_of
from .clips.cached import ClipCache
from .config import TrainConfig
from .environment import write_environment
from .in_training import judged_model
from .learner import Learner
from .listener import Listener
from .log import RunLog
from .loop import Hooks, Loop
from .memory import exhausted
from .memory.choice import REMEDY, choose
from .memory.load import load_of_cache
from .memory.machine import this_machine
from .memory.plan import AS_ASKED, Plan, plans_from, read_plan, write_plan
from .plot import save_loss_plot
from .ranks import Ranks, find_ranks
from .result import (
    facts_of,
    give_parts,
    read_record,
    write_adapters,
    write_all_weights,
    write_low_rank,
    write_record,
)
from .run_folder import RunFolder
from .trackers import Run, Tracker, open_tracker
from .validation import History, held_out_loss

_log = logging.getLogger(__name__)


class ShowPreview(Protocol):
    """What shows the state of a training."""

    def __call__(self, step: int, model: OpenedModel) -> object:
        """Show what a model makes, whose experts have learnt for a number of steps."""


@dataclass(frozen=True)
class Trained:
    """What a training has led to.

    Attributes:
        step: steps that are done.
        files: expert -> the file it was written to; empty where the training is not over.
        stopped: why it ended before its last step; "" where it did not.
        history: the measurements.
    """

    folder: RunFolder
    step: int
    files: Mapping[Expert, Path]
    stopped: str
    history: History


def train(
    config: TrainConfig,
    model: OpenedModel,
    cache: ClipCache,
    out: str | Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    preview: ShowPreview | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    listener: Listener | None = None,
    ranks: Ranks | None = None,
) -> Trained:
    """Train what a configuration says, and write what came of it.

    Args:
        config: every key.
        model: the opened model; its weights stay as they are.
        cache: the clips, as `prepare` made them for this model.
        out: the folder of the training.
        resume: go on with the training in this folder, from its last checkpoint.
        stop_after: end behind this step with a checkpoint, to go on later.
        preview: called with the model in training when a preview is due; by the main process, and by all where each
            has but a part of the weights.
        should_stop: asked after every step; the training then ends with a checkpoint.
        listener: told how it goes.
        ranks: this process among those that train together.
    """
    folder, ranks = RunFolder(Path(out)), ranks or find_ranks()
    listener = listener if listener and ranks.is_main else Listener()
    if not cache.trained:
        raise TrainingError(cache.folder, "no clip is left to train on", remedy="Add clips, or lower held_out")
    turns_of(config.learning, model.spec)  # what cannot work is said before anything is written
    with ExitStack() as held, model.lock:
        plans = () if resume else _plans(config, model, cache, ranks, listener)
        with ranks.as_one():
            if ranks.is_main:
                held.enter_context(folder.locked())
                folder.begin(config, resume=resume)
        if resume and (done := read_record(folder.record)) is not None:
            listener.note(f"the training in {folder.path} is over already")
            return Trained(folder, config.learning.steps, done, "", History())
        shown = preview if ranks.is_main or ranks.is_sharded else None
        if (last := folder.last_checkpoint) is not None and config.model.memory_plan == "auto":
            plans = plans_from(read_plan(last)[0], config, on_gpu=model.device.type != "cpu")
        plans = plans or _plans(config, model, cache, ranks, listener)

        def make_loop(used: TrainConfig) -> Loop:
            return _make_loop(used, model, cache, folder, ranks, listener, shown, should_stop)

        used, loop = _run(config, plans if ranks.num == 1 else plans[:1], make_loop, folder, listener, stop_after)
        files = _finish(used, model, cache, loop, folder) if loop.is_over else {}
        return Trained(folder, loop.step, files, loop.stopped, loop.history)


def _plans(
    config: TrainConfig, model: OpenedModel, cache: ClipCache, ranks: Ranks, listener: Listener
) -> tuple[Plan, ...]:
    """Return the first plan that fits in the memory there is, and those that take less.

    Several processes have to do the same, so what each of them has left decides nothing.
    """
    if config.model.memory_plan == "as_asked" or ranks.num > 1:
        return (AS_ASKED,)
    listener.phase("predicting the memory")
    load = load_of_cache(config, model.spec, cache, text_tokens(model))
    try:
        choice = choose(config, model, load, this_machine(model.device))
    except RuntimeError as error:  # PyTorch's, of an operation that cannot be rehearsed
        listener.note(f"the memory could not be predicted: {first_line(error)}")
        return plans_from(AS_ASKED, config, on_gpu=model.device.type != "cpu")
    chosen = choice.chosen or AS_ASKED
    if chosen != AS_ASKED:
        listener.note(f"what was asked for takes more memory than is left; the plan is {chosen}\n{choice}")
    return plans_from(chosen, config, on_gpu=model.device.type != "cpu")


def _run(
    config: TrainConfig,
    plans: Sequence[Plan],
    make_loop: Callable[[TrainConfig], Loop],
    folder: RunFolder,
    listener: Listener,
    stop_after: int | None,
) -> tuple[TrainConfig, Loop]:
    """Train by the first plan; where the memory runs out go on by the next, from the last whole step.

    Returns:
        The configuration as the plan has it that led to an end, and the loop at that end.
    """
    for plan, following in zip_longest(plans, plans[1:]):
        used, loop = plan.apply(config), None
        try:
            loop = make_loop(used)
            _begin(loop, folder, plan, used)
            with _tracked(used, folder, loop) as loop.trackers:
                loop.run(stop_after)
            return used, loop
        except exhausted.ERRORS as error:
            if not exhausted.is_out_of_memory(error):
                raise
            if following is None:
                what = f"it has run out in the last plan, {plan.name}: {first_line(error)}"
                raise TrainingError("memory", what, remedy=REMEDY) from error
        # Only here, behind the error and all that its traceback holds, is there memory again.
        when = f"after step {loop.step}" if loop is not None and loop.step else "before the first step"
        listener.note(f"the memory has run out {when}; going on with {following}")
        if loop is not None and loop.is_whole and loop.step > _last_step(folder):
            loop.save()
        loop = None
        exhausted.give_back()
    raise AssertionError("the last plan has returned or raised")


def _last_step(folder: RunFolder) -> int:
    """Return the step of the last checkpoint; 0 where there is none."""
    last = folder.last_checkpoint
    return 0 if last is None else step_of(last)


def _begin(loop: Loop, folder: RunFolder, plan: Plan, used: TrainConfig) -> None:
    """Let a loop go on from the last checkpoint, if there is one, and tell its plan in those it makes."""
    loop.hooks = replace(loop.hooks, write=lambda path: write_plan(path, plan, used))
    if (last := folder.last_checkpoint) is None:
        loop.log.truncate_after(-1)  # of a run that was killed before its first checkpoint
        return
    _, optimizer = read_plan(last)
    is_same = optimizer in ("", used.learning.optimizer)
    if not is_same:
        loop.listener.note(f"{used.learning.optimizer} begins anew, the weights go on from {last.name}")
    loop.resume(last, with_optimizer=is_same)


def _make_loop(
    config: TrainConfig,
    model: OpenedModel,
    cache: ClipCache,
    folder: RunFolder,
    ranks: Ranks,
    listener: Listener,
    preview: ShowPreview | None,
    should_stop: Callable[[], bool],
) -> Loop:
    """Put together what is trained, at its first step."""
    turns = turns_of(config.learning, model.spec)
    teacher = make_teacher(config, model, cache, folder.teacher)
    with ranks.as_one():
        if teacher is not None and ranks.is_main:
            teacher.record(model, config.learning.batch_size, listener.progress)
    sources = make_sources(config, model, cache, turns, teacher)
    learners: dict[Expert, Learner] = {}
    for expert in turns.experts:
        listener.phase(f"loading the {expert.replace('_', '-')} expert")
        learners[expert] = make_learner(expert, config, model, sources[expert], turns, ranks)
        if len(turns.experts) > 1:
            learners[expert].rest()
    return Loop(
        learners=learners,
        turns=turns,
        num_steps=config.learning.steps,
        settings=config.watching,
        checkpoints=folder.checkpoints,
        log=RunLog(folder.path, writes=ranks.is_main),
        listener=listener,
        hooks=_hooks(config, folder, model, learners, sources, preview, should_stop),
        identity={"data": cache.digest, "number of processes": str(ranks.num)},
        ranks=ranks,
    )


@contextmanager
def _tracked(config: TrainConfig, folder: RunFolder, loop: Loop) -> Iterator[tuple[Tracker, ...]]:
    """Give the trackers that were asked for while the loop goes on from where it is, and note what it runs on."""
    run = Run(folder.path, config.name, config.values(), loop.step)
    with ExitStack() as opened:
        trackers = tuple(open_tracker(name, run) for name in config.watching.trackers if loop.ranks.is_main)
        for tracker in trackers:
            opened.callback(tracker.close)
        if loop.ranks.is_main:
            write_environment(folder.path)
        yield trackers


def _finish(
    config: TrainConfig, model: OpenedModel, cache: ClipCache, loop: Loop, folder: RunFolder
) -> dict[Expert, Path]:
    """Write what was learnt: at the last step, or where the held-out loss was least if that ended the training."""
    if loop.stopped:
        loop.load_best()
    if not loop.ranks.is_main:
        give_parts(loop.learners)
        return {}
    loop.listener.phase("writing the result")
    facts = facts_of(config, model, cache, loop.learners, loop.history)
    rank = config.watching.full_rank
    if config.adapter.method == "full" and rank:
        progress = loop.listener.progress
        files, losses = write_low_rank(loop.learners, folder.path, config.name, facts, rank, progress)
        for text in losses:
            loop.listener.note(text)
    elif config.adapter.method == "full":
        files = write_all_weights(loop.learners, folder.path, config.name, facts, model)
    else:
        files = write_adapters(loop.learners, folder.path, config.name, facts)
    best = loop.history.best
    told = {"steps": loop.step, "stopped": loop.stopped, "best_step": None if best is None else best.step}
    write_record(folder.record, files, told)
    return files


def _hooks(
    config: TrainConfig,
    folder: RunFolder,
    model: OpenedModel,
    learners: Mapping[Expert, Learner],
    sources: Mapping[Expert, Source],
    preview: ShowPreview | None,
    should_stop: Callable[[], bool],
) -> Hooks:
    def show(step: int) -> None:
        if preview is not None:
            with judged_model(model, learners) as judged:
                preview(step, judged)

    def draw(log: RunLog) -> None:
        save_loss_plot(log.rows, folder.plot, title=config.name)

    batches = {expert: source.held_out(config.watching.num_levels) for expert, source in sources.items()}

    def measure(learner: Learner) -> float:
        return held_out_loss(learner, batches[learner.expert])

    return Hooks(
        measure=measure if all(batches.values()) else None,
        preview=None if preview is None else show,
        draw=draw,
        should_stop=should_stop,
    )
