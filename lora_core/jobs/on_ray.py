"""Workers on Ray: processes on this machine or on a cluster, each with a model of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..checks import first_line
from ..errors import LoraCoreError, RequestError, error_from
from .ended import Done, Numbered, foreseen
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


class Doer(Protocol):
    """What does jobs in a process of its own, such as a `Maker`."""

    @property
    def name(self) -> str: ...

    def do(self, item: Any) -> Done: ...


@contextmanager
def ray_posts(make: Callable[[], Doer], num_workers: int, address: str | None) -> Iterator[list[Hire]]:
    """Give posts for workers of a cluster, or of this machine where no address is given; `make` runs once in each.

    Each takes one GPU where the cluster has any. A cluster that the caller has joined already is taken.

    Raises:
        RequestError: there are fewer GPUs than workers, or no cluster answers.
    """
    ray = require_ray()
    with _joined_cluster(ray, address):
        num_gpus = int(ray.cluster_resources().get("GPU", 0))
        if 0 < num_gpus < num_workers:
            what = f"{num_workers}, and there are {num_gpus} GPUs"
            raise RequestError("--workers", what, expected=f"at most {num_gpus}", remedy="Ask for fewer workers")
        worker = ray.remote(num_cpus=0, num_gpus=min(num_gpus, 1), max_restarts=0)(_Process)
        yield [lambda: _hired(ray, worker, make)] * num_workers


@contextmanager
def _joined_cluster(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    check_address(address)
    try:
        ray.init(address=address or "local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(first_line(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str | None) -> None:
    """Raise where nobody listens at HOST:PORT or ray://HOST:PORT, which Ray itself would ask for many minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(f"nobody listens at {host}:{port}") from error


def _no_cluster(why: str) -> RequestError:
    remedy = "Start one with `ray start --head`, or correct the address"
    return RequestError(
        "--ray-address", f"no cluster answers: {why}", expected="such as auto, or HOST:6379", remedy=remedy
    )


@dataclass(eq=False)
class RayWorker:
    """One process, as this one sees it."""

    ray: Any
    actor: Any
    name: str

    def do(self, item: Numbered) -> Done:
        """Do a job over there; see `sharing.Worker`."""
        done: Done = _result(self.ray, self.actor.do.remote(item), self.name)
        return done

    def close(self) -> None:
        """End the process, whatever it does."""
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)


class _Process:
    """What runs over there; an error is returned in its plain form, which says more than what Ray makes of it."""

    doer: Doer

    def begin(self, make: Callable[[], Doer], folder: str) -> str | dict[str, object]:
        """Get ready, and return the name of this worker."""
        from ..checkpoints.quiet import hush

        if os.path.isdir(folder):  # paths are relative to where the list was started
            os.chdir(folder)
        hush()
        try:
            self.doer = make()
        except Exception as error:
            return foreseen(error).to_dict()
        return self.doer.name

    def do(self, item: Numbered) -> Done | dict[str, object]:
        """Return what became of a job."""
        try:
            return self.doer.do(item)
        except Exception as error:
            return foreseen(error).to_dict()


def _hired(ray: Any, worker: Any, make: Callable[[], Doer]) -> RayWorker:
    new = RayWorker(ray, worker.remote(), "a new worker")
    try:
        return replace(new, name=_result(ray, new.actor.begin.remote(make, os.getcwd()), new.name))
    except LoraCoreError:
        new.close()
        raise


def _result(ray: Any, reference: Any, name: str) -> Any:
    """Return what a worker returns, or raise the error that it tells of."""
    try:
        told = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        raise WorkerLostError(name, _why(error)) from error
    except ray.exceptions.RayTaskError as error:  # before our own code over there had a say
        what = f"cannot be reached: {str(error).strip().splitlines()[-1]}"
        raise RequestError(name, what, remedy="Install the same packages on all machines") from error
    if isinstance(told, dict):
        raise error_from(told)
    return told


def _why(error: Exception) -> str:
    """Return what Ray says of a process's end, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "exit" in line.lower()), first_line(error))[:200].rstrip(".")
