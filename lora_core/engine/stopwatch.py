"""How long each phase of a run takes, and each step of its sampling."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from ..sampling.sample import StepCallback

#: How the steps' own timings are named, which are parts of "sampling".
_STEP = "step "


@dataclass
class Stopwatch:
    """Seconds by phase, and who is told that one begins."""

    on_phase: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of a phase inside a `with` block."""
        self.on_phase(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    def each_step(self, callback: StepCallback | None) -> StepCallback:
        """Return a callback that notes each step's time and passes the step on."""
        last = time.perf_counter()

        def note(step: int, num_steps: int, x0: Tensor) -> None:
            nonlocal last
            now = time.perf_counter()
            self.seconds[f"{_STEP}{step}"] = now - last
            last = now
            if callback is not None:
                callback(step, num_steps, x0)

        return note


def step_seconds(timings: Mapping[str, float]) -> dict[int, float]:
    """Return the seconds of each step, by its index."""
    return {int(name.removeprefix(_STEP)): took for name, took in timings.items() if name.startswith(_STEP)}


def whole_seconds(timings: Mapping[str, float]) -> float:
    """Return how long all phases took together."""
    return sum(took for name, took in timings.items() if not name.startswith(_STEP))
