"""The held-out loss: clips that are never trained on, with the same noise at the same levels every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..experts import Expert
from .learner import Learner
from .objectives.objective import Material

#: A loss counts as better, or as risen, from this share of it on.
_NOTICED = 0.005


def held_out_loss(learner: Learner, batches: Sequence[Material]) -> float:
    """Return the mean loss over held-out clips and levels of what an expert would be written as.

    Every process measures all, for networks that are shared out need them all, and is told the same number.
    """
    with learner.judged():
        loss = sum(learner.loss(batch) for batch in batches) / len(batches)
    return learner.ranks.mean(loss)


@dataclass(frozen=True)
class Measured:
    """What one measurement found.

    Attributes:
        held_out: expert -> held-out loss.
        trained: expert -> mean training loss since the measurement before; without those that had no step.
    """

    step: int
    held_out: dict[Expert, float]
    trained: dict[Expert, float]

    @property
    def score(self) -> float:
        """The mean over the experts."""
        return sum(self.held_out.values()) / len(self.held_out)


@dataclass
class History:
    """All measurements of a training, and what they say."""

    rows: list[Measured] = field(default_factory=list)

    @property
    def best(self) -> Measured | None:
        """The measurement with the least held-out loss."""
        return min(self.rows, key=lambda row: row.score, default=None)

    def worse_in_a_row(self) -> int:
        """Return how many measurements have passed since the last one that was clearly better than all before."""
        since, best = 0, float("inf")
        for row in self.rows:
            is_better = row.score < best * (1 - _NOTICED)
            since, best = (0 if is_better else since + 1), min(best, row.score)
        return since

    def verdict(self) -> str:
        """Say in plain words what the last measurements mean, or "" where all is well or too little is known."""
        if len(self.rows) < 4 or self.best is None:
            return ""
        last, before = self.rows[-1], self.rows[-3]
        rises = last.score > self.best.score * (1 + _NOTICED) and last.score > before.score
        common = [expert for expert in last.trained if expert in before.trained]
        falls = bool(common) and sum(last.trained[e] for e in common) < sum(before.trained[e] for e in common)
        if rises and falls:
            return (
                "overfit: the loss on trained clips falls, and that on held-out clips has risen since step "
                f"{self.best.step} (from {self.best.score:.4f} to {last.score:.4f}). "
                "Use that checkpoint, a lower rank or more clips"
            )
        if self.worse_in_a_row() >= 3:
            return (
                f"plateau: the held-out loss has not fallen since step {self.best.step} ({self.best.score:.4f}). "
                "Stop here, or try another learning rate"
            )
        return ""

    def state(self) -> list[list[Any]]:
        """Return what `from_state` takes."""
        return [[row.step, row.held_out, row.trained] for row in self.rows]

    @classmethod
    def from_state(cls, state: Sequence[Sequence[Any]]) -> History:
        """Return the history that a checkpoint holds."""
        return cls([Measured(step, dict(held_out), dict(trained)) for step, held_out, trained in state])
