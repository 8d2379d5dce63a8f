"""Workers on Ray: processes on this machine or on a cluster, each with a model of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..checks import first_line
from ..errors import RequestError, error_from
from .ended import Done
from .item import Item
from .maker import HowToMake, Maker
from .sharing import Hire, WorkerLostError

INSTALL = 'pip install "wanloom[ray]"'


def require_ray() -> Any:
    """Return the package, or say how to get it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        what = "several workers need Ray, which is not installed"
        remedy = f"Install it with `{INSTALL}`, or leave --workers at 1"
        raise RequestError("--workers", what, remedy=remedy) from error
    return ray


@contextmanager
def ray_posts(how: HowToMake, num_workers: int, address: str | None) -> Iterator[list[Hire]]:
    """Give posts for workers of a cluster, or of this machine where no address is given.

    Each takes one GPU where the cluster has any. Raises RequestError where there are fewer of these than workers, or
    no cluster answers.
    """
    ray = require_ray()
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = f"no cluster answers: {first_line(error)}"
        raise RequestError("--ray-address", what, expected="such as auto, or HOST:6379", remedy="Start one") from error
    try:
        num_gpus = int(ray.cluster_resources().get("GPU", 0))
        if 0 < num_gpus < num_workers:
            what = f"{num_workers}, and there are {num_gpus} GPUs"
            raise RequestError("--workers", what, expected=f"at most {num_gpus}", remedy="Ask for fewer workers")
        worker = ray.remote(num_cpus=0, num_gpus=min(num_gpus, 1), max_restarts=0)(_Process)
        yield [lambda: _hired(ray, worker, how)] * num_workers
    finally:
        ray.shutdown()


@dataclass(eq=False)
class RayWorker:
    """One process, as this one sees it."""

    ray: Any
    actor: Any
    name: str

    def do(self, item: Item) -> Done:
        """Do a job over there; see `sharing.Worker`."""
        told = _result(self.ray, self.actor.do.remote(item), self.name)
        if isinstance(told, Done):
            return told
        raise error_from(told)

    def close(self) -> None:
        """End the process, whatever it does."""
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)


class _Process:
    """What runs over there: a model, opened once."""

    def __init__(self, how: HowToMake, folder: str) -> None:
        from ..checkpoints.quiet import hush

        if os.path.isdir(folder):  # paths are relative to where the list was started
            os.chdir(folder)
        hush()
        self.maker = Maker(how)

    def name(self) -> str:
        return self.maker.name

    def do(self, item: Item) -> Done | dict[str, object]:
        """Return what became of a job, an error of it in its plain form."""
        from .ended import fault_of

        try:
            return self.maker.do(item)
        except Exception as error:
            told = fault_of(item, error).error
            return {**told.to_dict(), "where": told.where.removeprefix(f"job {item.number}").strip()}


def _hired(ray: Any, worker: Any, how: HowToMake) -> RayWorker:
    actor = worker.remote(how, os.getcwd())
    return RayWorker(ray, actor, _result(ray, actor.name.remote(), "a new worker"))


def _result(ray: Any, reference: Any, name: str) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayActorError as error:
        raise WorkerLostError(name, _why(error)) from error


def _why(error: Exception) -> str:
    """Return what Ray says of a process's end, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "exit" in line.lower()), first_line(error))[:200].rstrip(".")
