"""What becomes of the jobs of a list, one event at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from ..checks import first_line
from ..errors import LoraCoreError, located


class Numbered(Protocol):
    """A job, as far as those need to know it who hand it on."""

    @property
    def number(self) -> int:
        """Its place in the list, from 1."""


@dataclass(frozen=True)
class Done:
    """A job whose video and record are written.

    Attributes:
        worker: who made it.
        seconds: how long that took.
        notes: what was noticed, as lines of text.
    """

    number: int
    output: Path
    worker: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """A job that an earlier run has finished as it is asked for now."""

    number: int
    output: Path


@dataclass(frozen=True)
class Fault:
    """A job that is not done, and why; the error names the job's number first."""

    number: int
    error: LoraCoreError


@dataclass(frozen=True)
class Lost:
    """A worker that is gone; its job, if it had one, waits for another.

    Attributes:
        why: what was seen of its end.
    """

    worker: str
    why: str


Event: TypeAlias = Done | Kept | Fault | Lost


def fault_of(item: Numbered, error: Exception) -> Fault:
    """Return the fault of a job, its number before the place."""
    try:
        with located(f"job {item.number}"):
            raise foreseen(error)
    except LoraCoreError as told:
        return Fault(item.number, told)


def foreseen(error: Exception) -> LoraCoreError:
    """Return an error of ours as it is; one that nobody foresaw is told by its kind and its first line."""
    if isinstance(error, LoraCoreError):
        return error
    remedy = "Make it alone with lora-core --debug generate to see where"
    return LoraCoreError("", f"failed with {type(error).__name__}: {first_line(error)}", remedy=remedy)
