"""The progress bars of the build's long loops."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress as Bars
from rich.progress import TaskID, TextColumn

from ..progress import Progress


@contextmanager
def progress_bar(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """Show a bar; the function it gives moves it on by one and shows a note, such as the loss."""
    with _bars() as bars:
        task = bars.add_task(what, total=total, note="")
        yield lambda note: bars.update(task, advance=1, note=note)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Give what shows a bar for each kind of work; what follows a colon in its name is a note beside it."""
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(done: int, total: int, what: str) -> None:
            name, _, note = what.partition(": ")
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, note="")
            bars.update(tasks[name], completed=done, total=total, note=note)

        yield show


def _bars() -> Bars:
    return Bars(*Bars.get_default_columns(), TextColumn("{task.fields[note]}"))
