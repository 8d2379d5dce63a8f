"""Who is told how a training goes: what it is doing, each step, each measurement."""

from __future__ import annotations

from dataclasses import dataclass

from ..experts import Expert
from .validation import Measured


@dataclass(frozen=True)
class StepReport:
    """One step, as it is told.

    Attributes:
        step: how many steps are done, this one included.
        seconds: what a step takes, averaged over the last ones.
        remaining: what is left, in seconds.
        num_bytes: memory at its peak, of the device, or of the process where the device is the CPU.
    """

    step: int
    num_steps: int
    expert: Expert
    loss: float
    lr: float
    seconds: float
    remaining: float
    num_bytes: int


class Listener:
    """A listener that does nothing; who wants to hear something overrides what it is about.

    Any of these may raise to stop a training where it is, without a checkpoint.
    """

    def phase(self, what: str) -> None:
        """Hear what begins: "loading the high-noise expert", "measuring", "saving", …."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Hear how far something other than the training itself is."""

    def step(self, report: StepReport) -> None:
        """Hear of a step."""

    def measured(self, measured: Measured) -> None:
        """Hear of held-out losses."""

    def note(self, text: str) -> None:
        """Hear of something good to know."""
