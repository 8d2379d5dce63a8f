"""Workers of jobs that other processes import: they write where they began, and some of their jobs kill them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.errors import RequestError
from lora_core.jobs.ended import Done

if TYPE_CHECKING:
    from lora_core.families.opened import OpenedModel


@dataclass(frozen=True)
class Chore:
    """A job without a model: "fine", "bad", or "deadly" as often as `deaths` says."""

    number: int
    kind: str = "fine"
    deaths: int = 0


class Doer:
    """Does chores, and notes in a folder that it has begun and which of them killed it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"process {os.getpid()}"
        (folder / f"began-{os.getpid()}").touch()

    def do(self, chore: Chore) -> Done:
        if chore.kind == "bad":
            raise RequestError("seed", "is odd", expected="an even one", remedy="Add one")
        if len(list(self.folder.glob(f"died-{chore.number}-*"))) < chore.deaths:
            (self.folder / f"died-{chore.number}-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Done(chore.number, self.folder, self.name, 0.0)


@dataclass(frozen=True)
class CountedOpening:
    """Opens the pocket model, and notes each opening in a folder."""

    folder: Path

    def __call__(self) -> OpenedModel:
        from lora_core.families.registry import opener

        number = len(list(self.folder.iterdir()))
        (self.folder / f"{os.getpid()}-{number}").touch()
        return opener("pocket")("pocket")
