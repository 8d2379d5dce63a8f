"""How long the rest of a grid takes, by what its first cell took."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ..checks import time_text
from ..engine.stopwatch import step_seconds
from ..experts import EXPERTS, Expert
from ..wording import Said, said
from .planned import PlannedCell, num_steps_left


class Pace:
    """The seconds of one evaluation of each expert, and of what comes with every cell."""

    def __init__(self) -> None:
        self._per_pass: dict[Expert, float] = {}
        self._beside = 0.0

    def note(self, one: PlannedCell, timings: Mapping[str, float]) -> None:
        """Take note of what a cell took, phase by phase."""
        seconds = step_seconds(timings)
        steps = [(expert, cfg) for expert in EXPERTS for cfg in one.steps[expert]]
        for expert in EXPERTS:
            passes = [seconds[i] / _passes(cfg) for i, (e, cfg) in enumerate(steps) if e == expert and i in seconds]
            if passes:
                self._per_pass[expert] = statistics.median(passes)
        self._beside = timings.get("decoding", 0.0) + timings.get("guardrail", 0.0)

    def left(self, cells: Sequence[PlannedCell]) -> Said | None:
        """Say how long all cells but the first take; None where it is the only one, or an expert has not run yet."""
        seconds, seen = 0.0, {cells[0].begins}
        for one in cells[1:]:
            left = num_steps_left(one, is_shared=one.begins in seen)
            seen.add(one.begins)
            for expert, count in left.items():
                if count and expert not in self._per_pass:
                    return None
                seconds += sum(map(_passes, one.steps[expert][:count])) * self._per_pass.get(expert, 0.0)
            seconds += self._beside
        return said("about {time} for the others", time=time_text(seconds)) if len(cells) > 1 else None


def _passes(cfg: float) -> int:
    """Return how often a step with this guidance asks the network."""
    return 1 if cfg == 1 else 2
