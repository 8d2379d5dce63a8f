"""What the command line tells a program of a training: lines of JSON on the standard output, one for whatever happens.

Each line is an object whose `event` says what it is about; `docs/training.md` lists them. Numbers that are not finite
are null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LoraCoreError
from ..training.listener import Listener, StepReport
from ..training.validation import Measured
from ..wording import Said, form_of
from .ending import unforeseen

if TYPE_CHECKING:
    from ..training.train import Trained


class TrainingLines(Listener):
    """A training told in lines of JSON; `is_unheard` once nobody reads them any more."""

    def __init__(self) -> None:
        self.is_unheard = False

    @contextmanager
    def shown(self) -> Iterator[TrainingLines]:
        """Show it inside the block."""
        yield self

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Tell of the error that ends the block."""
        try:
            yield
        except Exception as error:
            told = error if isinstance(error, LoraCoreError) else unforeseen(error)
            self.tell("error", **told.to_dict(), message=str(told))
            raise

    def phase(self, what: str) -> None:
        self.tell("phase", what=what)

    def progress(self, done: int, total: int, what: str) -> None:
        self.tell("progress", done=done, total=total, what=what)

    def step(self, report: StepReport) -> None:
        self.tell("step", **asdict(report))

    def measured(self, measured: Measured) -> None:
        self.tell("measured", step=measured.step, held_out=measured.held_out, trained=measured.trained)

    def note(self, text: str) -> None:
        self.tell("note", text=text)

    def previewed(self, step: int, sheet: Path) -> None:
        """Tell where the previews so far are to be seen."""
        self.tell("preview", step=step, sheet=str(sheet))

    def done(self, trained: Trained) -> None:
        """Tell what a training has led to; one that is not over has no files."""
        files = {expert: str(path) for expert, path in trained.files.items()}
        self.tell("done", step=trained.step, files=files, stopped=trained.stopped)

    def tell(self, event: str, **told: Any) -> None:
        """Print a line for something that happens."""
        if self.is_unheard:
            return
        try:
            forms = {name: form_of(text) for name, text in told.items() if isinstance(text, Said)}
            told = {**({"forms": forms} if forms else {}), **told}
            print(json.dumps({"event": event, **_finite(told)}), flush=True)
        except OSError:  # whoever read has gone; the training ends behind the step it is at
            self.is_unheard = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where what is left goes when the program ends


def _finite(value: Any) -> Any:
    """Return a value with None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
