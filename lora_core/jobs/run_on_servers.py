"""The run of a list of jobs by ComfyUI servers: each fills the same workflow, and goes to whoever is free."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from ..atomic import check_target
from ..errors import RequestError
from .comfyui import Server, asked_row, picture_name
from .ended import Event, Kept, fault_of
from .finished import is_finished
from .item import Item
from .read import JobList
from .sharing import share
from .workflow import Workflow, filled, read_workflow


def run_on_servers(jobs: JobList, urls: Sequence[str], workflow_file: str | Path) -> Generator[Event, None, None]:
    """Make the videos of a list on servers; yield what becomes of each job, faults that are known beforehand first.

    What a job leaves out stays as the workflow has it; a LoRA's path is a name in the servers' LoRA folders. Videos
    and records come to where a run here would write them, and jobs that are there already are kept.

    Args:
        jobs: the list.
        urls: such as "http://127.0.0.1:8188".
        workflow_file: in API format.

    Raises:
        RequestError: an address is none, or the file no such workflow.
    """
    places = _checked(urls)
    workflow = read_workflow(workflow_file)
    yield from jobs.faults
    todo = []
    for item in jobs.items:
        try:
            if _is_finished(item, workflow):
                yield Kept(item.number, item.output)
            else:
                todo.append(item)
        except Exception as error:
            yield fault_of(item, error)
    if todo:
        yield from share(todo, [partial(Server, url, workflow) for url in places])


def _checked(urls: Sequence[str]) -> list[str]:
    places = [url.strip().rstrip("/") for url in urls]
    for place in places:
        parts = urlsplit(place)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            expected = "such as http://127.0.0.1:8188"
            raise RequestError("--comfyui", f"{place!r} is no address", expected=expected, remedy="Correct it")
        if places.count(place) > 1:
            raise RequestError("--comfyui", f"{place} is given twice", remedy="Name each server once")
    return places


def _is_finished(item: Item, workflow: Workflow) -> bool:
    """Check a job as far as that goes without its server, and say whether its video is there as asked."""
    if not item.output.suffix:
        what = f"{item.output.name!r} has no ending"
        raise RequestError("output", what, expected="a file, such as clip.mp4", remedy="Give it one")
    check_target(item.output)
    check_target(item.record_file)
    asked = asked_row(filled(workflow, item, picture_name))
    return is_finished(item.output, item.record_file, asked)
