"""The training of LoRAs, or of whole weights, on a folder of clips: one or both experts of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from ..checks import typed
from ..errors import TrainingError
from ..experts import Expert
from ..families.opened import OpenedModel
from ..wording import expert_of, said
from .assembly import (
    Source,
    boundary_of,
    check_layers,
    check_objective,
    make_learner,
    make_sources,
    make_teacher,
    turns_of,
)
from .attempts import plans_behind, plans_for, run_by_plans
from .clips.cached import ClipCache
from .config import TrainConfig
from .environment import write_environment
from .in_training import judged_model
from .learner import Learner
from .lengths import check_clips
from .listener import Listener
from .log import RunLog
from .loop import Hooks, Loop
from .memory.plan import Plan
from .output import write_pair
from .plot import save_loss_plot
from .ranks import Ranks, find_ranks
from .result import (
    adapters_of,
    facts_of,
    give_parts,
    read_record,
    write_adapters,
    write_all_weights,
    write_low_rank,
    write_record,
)
from .run_folder import RunFolder
from .slots import check_slots
from .trackers import Run, Tracker, open_tracker
from .validation import History, held_out_loss


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


def check_training(config: TrainConfig, model: OpenedModel, out: str | Path, *, resume: bool = False) -> None:
    """Raise what `train` would raise of a configuration, a model and a folder, before any work is done for it."""
    RunFolder(Path(out)).check(config, resume=resume)
    _check_network(config, model)


def _check_network(config: TrainConfig, model: OpenedModel) -> None:
    turns_of(config.learning, model.spec)
    boundary_of(config.noise, model.spec)
    check_slots(model)
    check_objective(config, model)
    check_layers(config, model)


@typed(TrainingError)
def train(
    config: TrainConfig,
    model: OpenedModel,
    cache: ClipCache,
    out: str | Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    preview: ShowPreview | None = None,
    on_begin: Callable[[RunFolder], object] = lambda folder: None,
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
        on_begin: called with the folder of a new training, by the main process, once no other training can write there.
        should_stop: asked after every step; the training then ends with a checkpoint.
        listener: told how it goes.
        ranks: this process among those that train together.
    """
    folder, ranks = RunFolder(Path(out)), ranks or find_ranks()
    listener = listener if listener and ranks.is_main else Listener()
    shown = preview if ranks.is_main or ranks.is_sharded else None
    job = _Job(model, cache, folder, ranks, listener, shown, should_stop)
    with ExitStack() as held, model.lock:
        with ranks.as_one():
            if not cache.trained:
                raise TrainingError(cache.folder, "no clip is left to train on", remedy="Add clips, or lower held_out")
            _check_network(config, model)  # what cannot work is said before anything is written
            check_clips(config, model.spec, cache)
        plans = () if resume else job.plans(config)
        held.enter_context(_claimed(job, config, on_begin, resume=resume))
        if resume and (done := read_record(folder.record)) is not None:
            listener.note(f"the training in {folder.path} is over already")
            return Trained(folder, config.learning.steps, done, "", History())
        if (last := folder.last_checkpoint) is not None and config.model.memory_plan == "auto":
            plans = plans_behind(last, config, model)
        plans = plans or job.plans(config)
        tried, run = plans if ranks.num == 1 else plans[:1], partial(_run, job, stop_after=stop_after)
        used, loop = run_by_plans(config, tried, partial(_make_loop, job), folder, listener, run)
        files = _finish(job, used, loop) if loop.is_over else {}
        return Trained(folder, loop.step, files, loop.stopped, loop.history)


@dataclass(frozen=True, eq=False)
class _Job:
    """What a training works with, whatever the plan for its memory makes of the configuration.

    Attributes:
        preview: None where this process shows nothing.
    """

    model: OpenedModel
    cache: ClipCache
    folder: RunFolder
    ranks: Ranks
    listener: Listener
    preview: ShowPreview | None
    should_stop: Callable[[], bool]

    def plans(self, config: TrainConfig) -> tuple[Plan, ...]:
        """Return the first plan for the memory that fits, and those that take less."""
        return plans_for(config, self.model, self.cache, self.ranks, self.listener)


@contextmanager
def _claimed(
    job: _Job, config: TrainConfig, on_begin: Callable[[RunFolder], object], *, resume: bool
) -> Iterator[None]:
    """Keep others out of the folder inside the block, and begin in it."""
    with ExitStack() as held:
        with job.ranks.as_one():
            if job.ranks.is_main:
                held.enter_context(job.folder.locked())
                job.folder.begin(config, resume=resume)
                if not resume:
                    on_begin(job.folder)
        yield


def _make_loop(job: _Job, config: TrainConfig) -> Loop:
    """Put together what is trained, at its first step."""
    turns = turns_of(config.learning, job.model.spec)
    teacher = make_teacher(config, job.model, job.cache, job.folder.teacher)
    with job.ranks.as_one():
        if teacher is not None and job.ranks.is_main:
            teacher.record(job.model, config.learning.batch_size, job.listener.progress)
    sources = make_sources(config, job.model, job.cache, turns, teacher, job.ranks)
    learners: dict[Expert, Learner] = {}
    for expert in turns.experts:
        job.listener.phase(said("loading the {expert} expert", expert=expert_of(expert)))
        learners[expert] = make_learner(expert, config, job.model, sources[expert], turns, job.ranks)
        if len(turns.experts) > 1:
            learners[expert].rest()
    loop = Loop(
        learners=learners,
        turns=turns,
        num_steps=config.learning.steps,
        settings=config.watching,
        checkpoints=job.folder.checkpoints,
        log=RunLog(job.folder.path, writes=job.ranks.is_main),
        listener=job.listener,
        hooks=_hooks(job, config, learners, sources),
        identity={"data": job.cache.digest, "number of processes": str(job.ranks.num)},
        ranks=job.ranks,
    )
    if config.adapter.method != "full":
        loop.hooks = replace(loop.hooks, write=partial(_adapter_writer, job, config, loop))
    return loop


def _run(job: _Job, config: TrainConfig, loop: Loop, *, stop_after: int | None) -> None:
    with _tracked(config, job.folder, loop) as loop.trackers:
        loop.run(stop_after)


def _adapter_writer(job: _Job, config: TrainConfig, loop: Loop) -> Callable[[Path], dict[Expert, Path]]:
    """Return what writes the LoRA files as they are now, to be tried before the training is over."""
    deltas, facts = adapters_of(loop.learners), facts_of(config, job.model, job.cache, loop.learners, loop.history)
    return lambda folder: write_pair(deltas, folder, config.name, facts)


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


def _finish(job: _Job, config: TrainConfig, loop: Loop) -> dict[Expert, Path]:
    """Write what was learnt: at the last step, or where the held-out loss was least if that ended the training."""
    if loop.stopped:
        loop.load_best()
    if not loop.ranks.is_main:
        give_parts(loop.learners)
        return {}
    folder, model = job.folder, job.model
    loop.listener.phase(said("writing the result"))
    facts = facts_of(config, model, job.cache, loop.learners, loop.history)
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
    job: _Job, config: TrainConfig, learners: Mapping[Expert, Learner], sources: Mapping[Expert, Source]
) -> Hooks:
    def show(step: int) -> None:
        if job.preview is not None:
            with judged_model(job.model, learners) as judged:
                job.preview(step, judged)

    def draw(log: RunLog) -> None:
        save_loss_plot(log.rows, job.folder.plot, title=config.name)

    batches = {expert: source.held_out(config.watching.num_levels) for expert, source in sources.items()}

    def measure(learner: Learner) -> float:
        return held_out_loss(learner, batches[learner.expert])

    return Hooks(
        measure=measure if all(batches.values()) else None,
        preview=None if job.preview is None else show,
        draw=draw,
        should_stop=job.should_stop,
    )
