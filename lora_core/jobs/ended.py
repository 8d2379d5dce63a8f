"""What becomes of the jobs of a list, one event at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..errors import LoraCoreError, located
from .item import Item


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


def fault_of(item: Item, error: Exception) -> Fault:
    """Return the fault of a job; an error that nobody foresaw is told by its kind and its first line."""
    if not isinstance(error, LoraCoreError):
        said = (str(error).strip().splitlines() or [""])[0].rstrip(".:")
        remedy = "Make it alone with lora-core --debug generate to see where"
        error = LoraCoreError("", f"failed with {type(error).__name__}: {said}", remedy=remedy)
    try:
        with located(f"job {item.number}"):
            raise error
    except LoraCoreError as told:
        return Fault(item.number, told)
