"""Attempts at a training: by the first plan for its memory that fits, and where that runs out by the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from ..checks import first_line
from ..errors import TrainingError
from ..families.opened import OpenedModel
from ..wording import joined, said
from .assembly import text_tokens
from .checkpoints import step_of
from .clips.cached import ClipCache
from .config import TrainConfig
from .listener import Listener
from .loop import Loop
from .memory import exhausted
from .memory.choice import REMEDY, choose
from .memory.load import load_of_cache
from .memory.machine import this_machine
from .memory.plan import AS_ASKED, Plan, plans_from, read_plan, write_plan
from .ranks import Ranks
from .run_folder import RunFolder


def plans_for(
    config: TrainConfig, model: OpenedModel, cache: ClipCache, ranks: Ranks, listener: Listener
) -> tuple[Plan, ...]:
    """Return the first plan that fits in the memory there is, and those that take less.

    Several processes have to do the same, so what each of them has left decides nothing.
    """
    if config.model.memory_plan == "as_asked" or ranks.num > 1:
        return (AS_ASKED,)
    on_gpu = _is_on_gpu(model)
    listener.phase(said("predicting the memory"))
    load = load_of_cache(config, model.spec, cache, text_tokens(model))
    try:
        choice = choose(config, model, load, this_machine(model.device))
    except RuntimeError as error:  # PyTorch's, of an operation that cannot be rehearsed
        listener.note(said("the memory could not be predicted: {error}", error=first_line(error)))
        return plans_from(AS_ASKED, config, on_gpu=on_gpu)
    if config.noise.objective == "reward":
        listener.note(said("the memory that gradients take in the VAE is not predicted; fewer reward_frames take less"))
    chosen = choice.chosen or AS_ASKED
    if chosen != AS_ASKED:
        asked = said("what was asked for takes more memory than is left; the plan is {plan}", plan=chosen)
        listener.note(joined("\n", [asked, str(choice)]))
    return plans_from(chosen, config, on_gpu=on_gpu)


def plans_behind(checkpoint: Path, config: TrainConfig, model: OpenedModel) -> tuple[Plan, ...]:
    """Return the plan by which a checkpoint was made, and those that take less."""
    return plans_from(read_plan(checkpoint)[0], config, on_gpu=_is_on_gpu(model))


def _is_on_gpu(model: OpenedModel) -> bool:
    return model.device.type != "cpu"


def run_by_plans(
    config: TrainConfig,
    plans: Sequence[Plan],
    make_loop: Callable[[TrainConfig], Loop],
    folder: RunFolder,
    listener: Listener,
    run: Callable[[TrainConfig, Loop], object],
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
            run(used, loop)
            return used, loop
        except exhausted.ERRORS as error:
            if not exhausted.is_out_of_memory(error):
                raise
            if following is None:
                what = said("it has run out in the last plan, {plan}: {error}", plan=plan.name, error=first_line(error))
                raise TrainingError("memory", what, remedy=REMEDY) from error
        # Only here, behind the error and all that its traceback holds, is there memory again.
        # A plan may fail before it is back at the last checkpoint.
        last_step = max(_last_step(folder), 0 if loop is None else loop.step)
        when = said("after step {step}", step=last_step) if last_step else said("before the first step")
        listener.note(said("the memory has run out {when}; going on with {following}", when=when, following=following))
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
    write_files = loop.hooks.write

    def write() -> Callable[[Path], object]:
        write_others = write_files()

        def write_into(folder: Path) -> None:
            write_others(folder)
            write_plan(folder, plan, used)

        return write_into

    loop.hooks = replace(loop.hooks, write=write)
    if (last := folder.last_checkpoint) is None:
        loop.log.truncate_after(-1)  # of a run that was killed before its first checkpoint
        return
    _, optimizer = read_plan(last)
    is_same = optimizer in ("", used.learning.optimizer)
    if not is_same:
        optimizer = used.learning.optimizer
        loop.listener.note(
            said("{optimizer} begins anew, the weights go on from {name}", optimizer=optimizer, name=last.name)
        )
    loop.resume(last, with_optimizer=is_same)
