"""How a training of either kind, of video or of language, is told of and ended: its options, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from .console import Console
from .ending import end_with_stdin
from .options import Decorator, group

if TYPE_CHECKING:
    from ..training.ranks import Ranks


class Status(Protocol):
    """Who tells of a training."""

    def errors_told(self) -> AbstractContextManager[None]:
        """Tell of the error that ends the block."""


S = TypeVar("S", bound=Status)


@dataclass(frozen=True)
class Running:
    """How a training is told of and ended.

    Attributes:
        told_as: "text" or "json".
    """

    stop_after: int | None
    told_as: str
    ends_with_stdin: bool

    def run(self, status_as: Callable[[str], S], do: Callable[[Ranks, S], bool]) -> None:
        """Train in this process, or in all that a launcher has started, and end as the training did.

        Args:
            status_as: returns who tells of it, as "text" or "json"; only the first process tells in JSON.
            do: trains, and returns whether somebody has asked for an end.
        """
        from ..training.ranks import FailedElsewhere, find_ranks

        if self.ends_with_stdin:
            end_with_stdin()
        context, is_ended = click.get_current_context(), False
        try:
            ranks = find_ranks()
            if not ranks.is_main or self.told_as == "json":
                context.obj = Console(quiet=True)
            status = status_as(self.told_as if ranks.is_main else "text")
            with ranks.in_touch(), status.errors_told():
                is_ended = do(ranks, status)
            ranks.leave()
        except FailedElsewhere:
            context.exit(1)
        if is_ended:
            context.exit(130)


running_options: Decorator = group(
    "running",
    Running,
    click.option("--stop-after", type=click.IntRange(min=1), metavar="STEP", help="End behind a step, to go on later."),
    click.option(
        "--progress",
        "told_as",
        type=click.Choice(("text", "json")),
        default="text",
        show_default=True,
        help="For people, or for a program: lines of JSON on the standard output.",
    ),
    click.option(
        "--end-with-stdin",
        "ends_with_stdin",
        is_flag=True,
        help="End with a checkpoint when the standard input closes.",
    ),
)
