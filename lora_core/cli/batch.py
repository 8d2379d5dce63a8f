"""The command `batch`: the videos of a list of jobs, here, by many workers, or by ComfyUI servers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..checks import counted, time_text
from ..errors import RequestError
from .console import console
from .helper_options import RefinerOptions, refiner_options
from .options import ModelOptions, download_option, model_options, partial_option
from .verb import Verb

if TYPE_CHECKING:
    from ..jobs.ended import Event

_EXAMPLES = ("lora-core batch examples/jobs/jobs.json -o out/batch",)
#: Jobs may take hours; an end is foretold from all that are done, not from the last half minute.
_SECONDS_OF_RATE = 1e6


@click.command("batch", cls=Verb, examples=_EXAMPLES)
@click.argument("jobs_file", type=click.Path(path_type=Path), metavar="JOBS.JSON")
@click.option(
    "--out",
    "-o",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder of the outputs; by default where the program runs.",
)
@model_options
@partial_option
@download_option
@refiner_options
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="How many processes, each with a model; 2 and more on Ray.",
)
@click.option("--ray-address", help="An existing Ray cluster, such as auto or HOST:6379; else one is started here.")
@click.option("--comfyui", metavar="URL,URL", help="ComfyUI servers that make the videos, by --workflow.")
@click.option(
    "--workflow", "workflow_file", type=click.Path(path_type=Path), help="For them: a workflow in API format."
)
def command(
    jobs_file: Path,
    folder: Path,
    model_options: ModelOptions,
    allow_partial: bool,
    download: bool,
    refiner_options: RefinerOptions,
    workers: int,
    ray_address: str | None,
    comfyui: str | None,
    workflow_file: Path | None,
) -> None:
    """Make the videos of a list of jobs, each with a prompt, LoRAs and settings of its own.

    JOBS.JSON is a list of objects, or {"defaults": {...}, "jobs": [...]}; docs/batch.md has every key. All are checked
    before the first is made. One at fault is named by its number, and the others are made all the same; the exit code
    is 1 then.

    The model is opened once for each worker, and LoRAs change between jobs without reloading it. Beside each video
    goes a record, by which a job that is done is known: the same command again makes what is missing, or has changed.

    With --comfyui the same list fills a workflow, and goes to whichever server is free; each saves one video.
    """
    if comfyui is not None or workflow_file is not None:
        _by_servers(jobs_file, folder, comfyui, workflow_file)
        return
    from ..jobs.maker import HowToMake
    from ..jobs.read import read_jobs
    from ..jobs.run import run_jobs

    jobs = read_jobs(jobs_file, folder)
    console().note(f"{counted(jobs.total, 'job')}; checking all of them with {model_options.model}")
    refiner = refiner_options.refiner(model_options)
    how = HowToMake(model_options.open, allow_partial=allow_partial, download=download, refiner=refiner)
    follow(run_jobs(jobs, how, num_workers=workers, ray_address=ray_address), jobs.total)


#: What a server has in its own way, and nothing here can tell it.
_ONLY_HERE = (
    *ModelOptions.__dataclass_fields__,
    *RefinerOptions.__dataclass_fields__,
    "allow_partial",
    "download",
    "workers",
    "ray_address",
)


def _by_servers(jobs_file: Path, folder: Path, comfyui: str | None, workflow_file: Path | None) -> None:
    """Let ComfyUI servers make the videos."""
    from ..jobs.read import read_jobs
    from ..jobs.run_on_servers import run_on_servers

    if comfyui is None or workflow_file is None:
        given, missing = ("--workflow", "--comfyui") if comfyui is None else ("--comfyui", "--workflow")
        raise RequestError(given, f"there is no {missing} beside it", remedy=f"Give {missing} too")
    for name in _ONLY_HERE:
        context = click.get_current_context()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            what = "it would do nothing with --comfyui, where the workflow says it"
            option = next(parameter.opts[0] for parameter in context.command.params if parameter.name == name)
            raise RequestError(option, what, remedy="Leave it out")
    jobs, servers = read_jobs(jobs_file, folder), comfyui.split(",")
    console().note(f"{counted(jobs.total, 'job')} for {counted(len(servers), 'server')}")
    follow(run_on_servers(jobs, servers, workflow_file), jobs.total)


def follow(events: Generator[Event, None, None], total: int) -> None:
    """Show a bar of the jobs and what becomes of each, then the sum of it; exit with 1 where some are not done."""
    from ..jobs.ended import Done, Fault, Kept, Lost

    counts = {Done: 0, Kept: 0, Fault: 0}
    workers: set[str] = set()
    # Closed, so that whoever works for us stops at Ctrl-C, wherever it comes.
    with closing(events), console().progress(rate=True, seconds_of_rate=_SECONDS_OF_RATE) as report:
        for event in events:
            if isinstance(event, Lost):
                console().fault(f"{event.worker} is lost: {event.why}")
                continue
            counts[type(event)] += 1
            report(sum(counts.values()), total, "jobs")
            if isinstance(event, Fault):
                console().fault(f"Error: {event.error}")
            elif isinstance(event, Done):
                workers.add(event.worker)
                console().note(f"job {event.number}: {event.output}, {time_text(event.seconds)} in {event.worker}")
    kept = f", {counts[Kept]} done before" if counts[Kept] else ""
    failed = f", {counts[Fault]} failed" if counts[Fault] else ""
    console().result(
        f"{counts[Done]} of {counted(total, 'job')} done by {counted(len(workers), 'worker')}{kept}{failed}"
    )
    if counts[Fault]:
        click.get_current_context().exit(1)
