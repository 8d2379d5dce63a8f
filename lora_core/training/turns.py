"""Whose turn it is: the expert that each step of a training is for, a function of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..experts import EXPERTS, Expert


@dataclass(frozen=True)
class Turns:
    """Two experts in turns of a number of steps, spread so that the high-noise one has its share; or one alone.

    Attributes:
        experts: those that learn.
        every: steps of a turn.
        high_share: the high-noise expert's share of the turns, where both learn.
    """

    experts: tuple[Expert, ...]
    every: int = 10
    high_share: float = 0.5

    def at(self, step: int) -> Expert:
        """Return the expert that learns in a step, counted from 0."""
        if len(self.experts) == 1:
            return self.experts[0]
        turn = step // self.every
        is_high = math.floor((turn + 1) * self.high_share + 0.5) > math.floor(turn * self.high_share + 0.5)
        return EXPERTS[0] if is_high else EXPERTS[1]

    def count(self, expert: Expert, num_steps: int) -> int:
        """Return how many of the first steps are an expert's."""
        return sum(self.at(step) == expert for step in range(num_steps))
