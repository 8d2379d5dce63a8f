"""The processes that a launcher has started for one clip: `torchrun -m lora_core generate … --context-parallel`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..errors import RequestError
from .console import Console
from .options import Decorator, ModelOptions

if TYPE_CHECKING:
    from ..training.ranks import Ranks

_LAUNCH = "torchrun --nproc-per-node 2 -m lora_core generate … --context-parallel"

parallel_option: Decorator = click.option(
    "--context-parallel",
    is_flag=True,
    help="One clip by all processes that torchrun has launched, each with a part of its tokens on a GPU of its own.",
)


@contextmanager
def joined_processes(wanted: bool) -> Iterator[Ranks]:
    """Give the processes that work together, this one alone where that is not wanted; all but the first are quiet.

    Raises:
        RequestError: it is wanted and one process was launched, or it is not and several were.
    """
    from ..training.ranks import Alone, FailedElsewhere, find_ranks

    if not wanted:
        if (num := os.environ.get("WORLD_SIZE", "1")) not in ("", "1") and os.environ.get("RANK", "0") == "0":
            what = f"{num} processes are launched, each of which would make the whole clip"
            raise RequestError("launcher", what, remedy="Add --context-parallel, or launch one")
        yield Alone()
        return
    try:
        ranks = find_ranks()
        if ranks.num == 1:
            what = "there is one process, which has nobody to share the clip with"
            raise RequestError("--context-parallel", what, expected="2 or more", remedy=f"Launch them: {_LAUNCH}")
        if not ranks.is_main:
            click.get_current_context().obj = Console(quiet=True)
        with ranks.in_touch():
            yield ranks
        ranks.leave()
    except FailedElsewhere:
        click.get_current_context().exit(1)


def on_own_device(options: ModelOptions, ranks: Ranks) -> ModelOptions:
    """Return a model's options with the device of this process."""
    if ranks.device is None:
        return options
    if options.device != "auto":
        what = f"{options.device!r}, and each process has the device that its launcher gives it"
        raise RequestError("--device", what, expected="auto", remedy="Leave it out")
    return replace(options, device=str(ranks.device))
