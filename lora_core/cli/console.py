"""What the command line prints on: results on stdout, progress and advice on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..progress import Progress as ProgressCallback


def _rich(stderr: bool) -> RichConsole:
    return RichConsole(stderr=stderr, highlight=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """How many are done in a second, of late."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


@dataclass(frozen=True)
class Console:
    """The two streams a command prints on; `quiet` leaves only results and errors."""

    quiet: bool = False
    out: RichConsole = field(default_factory=lambda: _rich(stderr=False))
    err: RichConsole = field(default_factory=lambda: _rich(stderr=True))

    def result(self, text: str) -> None:
        """Print what was asked for; shown even when quiet."""
        self.out.print(text, markup=False)

    def note(self, text: str) -> None:
        """Print what is good to know; hidden when quiet."""
        if not self.quiet:
            self.err.print(text, markup=False)

    def fault(self, text: str) -> None:
        """Print what went wrong where the work goes on all the same; shown even when quiet."""
        self.err.print(text, markup=False)

    @contextmanager
    def progress(self, *, rate: bool = False, seconds_of_rate: float = 30) -> Iterator[ProgressCallback]:
        """Show one bar for each kind of work, from the first report to the callback this yields.

        With `rate`, of long work, a bar also tells how much is done in a second and how long it will go on, by what was
        done in the last `seconds_of_rate`.
        """
        columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        more = (_Rate(), TimeRemainingColumn(), TextColumn("left")) if rate else ()
        bars = Progress(*columns, *more, console=self.err, disable=self.quiet, speed_estimate_period=seconds_of_rate)
        tasks: dict[str, TaskID] = {}

        def report(done: int, total: int, what: str) -> None:
            bars.start()
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        try:
            yield report
        finally:
            if tasks:  # bars that were never shown would leave an empty line before an error
                bars.stop()


def console() -> Console:
    """Return the console of the running command."""
    return click.get_current_context().find_object(Console) or Console()
