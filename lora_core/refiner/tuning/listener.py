"""Who is told how a tuning goes: what it is doing, each step, each measurement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TuneStep:
    """One step, as it is told.

    Attributes:
        step: how many steps are done, this one included.
        seconds: what a step takes, averaged over the last ones.
        remaining: what is left, in seconds.
        tokens_per_second: of the rows, without padding.
        num_bytes: memory at its peak, of the device, or of the process where the device is the CPU.
    """

    step: int
    num_steps: int
    loss: float
    lr: float
    seconds: float
    remaining: float
    tokens_per_second: float
    num_bytes: int


class TuneListener:
    """A listener that does nothing; who wants to hear something overrides what it is about."""

    def phase(self, what: str) -> None:
        """Hear what begins: "opening the model", "saving", …."""

    def step(self, step: TuneStep) -> None:
        """Hear of a step."""

    def measured(self, step: int, loss: float) -> None:
        """Hear of the loss on the held-out rows."""

    def note(self, text: str) -> None:
        """Hear of something good to know."""
