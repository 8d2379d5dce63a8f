"""The log of a tuning: what each row of it says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TuneRow:
    """What the steps up to one did, since the row before.

    Attributes:
        step: of the run, from 1; 0 for what was measured before the first.
        loss: the mean over the answers' tokens; NaN where it was not finite, None where nothing was trained.
        learning_rate: what the step was taken with.
        gradient_norm: of all weights that learn, before clipping.
        held_out: the loss on the held-out rows, where it was taken.
        seconds: what a step took.
        tokens_per_second: of the rows, without padding.
        memory_bytes: the most that was in use on the device, or by the process on the CPU.
    """

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    held_out: float | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    memory_bytes: int | None = None
