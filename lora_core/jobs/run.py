"""The run of a list of jobs with a model: all checked first, then made here or by workers, finished ones left alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

from ..checks import whole_number
from ..errors import RequestError
from .ended import Event, Kept, fault_of
from .item import Item
from .maker import HowToMake, Maker
from .read import JobList

#: More processes than that on one list are a slip of the finger.
MAX_WORKERS = 4096


def run_jobs(
    jobs: JobList, how: HowToMake, *, num_workers: int = 1, ray_address: str | None = None
) -> Generator[Event, None, None]:
    """Make the videos of a list; yield what becomes of each job, faults that are known beforehand first.

    Every job is checked before a network runs, and one at fault does not keep the others from being done. Jobs whose
    video and record are there and agree with what is asked are kept.

    Args:
        jobs: the list.
        how: the model and how files are read.
        num_workers: 1 makes them in this process, one after the other; more are processes of Ray.
        ray_address: an existing cluster; None starts one on this machine where there are several workers.

    Raises:
        RequestError: Ray is needed and not installed, or has no room for so many.
    """
    whole_number(num_workers, "--workers", RequestError, low=1, high=MAX_WORKERS)
    uses_ray = num_workers > 1 or ray_address is not None
    if uses_ray:
        from .on_ray import require_ray

        require_ray()
    yield from jobs.faults
    maker, todo = Maker(how), []
    for item in jobs.items:
        try:
            if maker.is_finished(item):
                yield Kept(item.number, item.output)
            else:
                todo.append(item)
        except Exception as error:
            yield fault_of(item, error)
    maker.refine()
    if todo and uses_ray:
        yield from _on_ray(todo, how, min(num_workers, len(todo)), ray_address)
    else:
        yield from _here(todo, maker)


def _here(items: Sequence[Item], maker: Maker) -> Generator[Event, None, None]:
    for item in items:
        try:
            yield maker.do(item)
        except Exception as error:
            yield fault_of(item, error)


def _on_ray(
    items: Sequence[Item], how: HowToMake, num_workers: int, address: str | None
) -> Generator[Event, None, None]:
    from .on_ray import ray_posts
    from .sharing import share

    with ray_posts(partial(Maker, how), num_workers, address) as posts:
        yield from share(items, posts)
