"""The sampling plan: for every step its noise level, its expert, its cfg and the strength of each LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PlanError
from ..experts import Expert
from .advice import Advice
from .route import Route, RoutedLora

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class StepPlan:
    """One evaluation of the network.

    Attributes:
        index: counted from 0.
        sigma: the noise level the network is asked at.
        sigma_next: the noise level the step ends at.
        strengths: of the LoRAs routed to the step's expert, in the route's order.
    """

    index: int
    sigma: float
    sigma_next: float
    expert: Expert
    cfg: float
    strengths: tuple[float, ...]

    @property
    def timestep(self) -> float:
        """The noise level as the network is told it, 0 to 1000 and never rounded."""
        return 1000.0 * self.sigma


@dataclass(frozen=True)
class SamplingPlan:
    """The steps of a run, and what they were made from.

    Attributes:
        shift: None when the sigmas were given.
        boundary: None when one network does every step.
        plan_advice: what was noticed about the steps; `advice` adds what was noticed about the stack.
    """

    steps: tuple[StepPlan, ...]
    route: Route
    model: str
    boundary: float | None
    shift: float | None
    plan_advice: tuple[Advice, ...] = ()

    @property
    def num_steps(self) -> int:
        return len(self.steps)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels from the first step's to the one the last step ends at, one more than there are steps."""
        return (*(step.sigma for step in self.steps), self.steps[-1].sigma_next)

    @property
    def advice(self) -> tuple[Advice, ...]:
        return self.plan_advice + self.route.advice

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, as lines of text."""
        return tuple(str(advice) for advice in self.advice)

    @property
    def guided_steps(self) -> tuple[StepPlan, ...]:
        """The steps with guidance, which need a negative prompt."""
        return tuple(step for step in self.steps if step.cfg != 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the LoRAs that act anywhere, in the stack's order."""
        return tuple(name for _, name in sorted({(lora.index, lora.name) for lora in self.route.all}))

    def strengths_of(self, name: str) -> tuple[float | None, ...]:
        """Return a LoRA's strength at every step, None where it is not on the step's expert."""
        return tuple(self._strength(step, name) for step in self.steps)

    def _strength(self, step: StepPlan, name: str) -> float | None:
        on_expert = zip(self.route.for_expert(step.expert), step.strengths, strict=True)
        return next((strength for lora, strength in on_expert if lora.name == name), None)

    def part(self, first: int = 0, last: int | None = None) -> SamplingPlan:
        """Return the plan of steps `first` to `last` (exclusive), to leave noise over or to go on from it."""
        steps = self.steps[first:last]
        if not steps:
            raise PlanError("steps", f"none from {first} to {last}", expected=f"some of 0 to {self.num_steps}")
        return SamplingPlan(steps, self.route, self.model, self.boundary, self.shift, self.plan_advice)

    def table(self) -> str:
        """Return the plan as text for people, at most 100 columns wide."""
        from .table import plan_table

        return plan_table(self)

    def plot(self, path: str | Path) -> Path:
        """Write a picture of the plan: .png, .svg or .pdf."""
        from .plot import save_plan

        return save_plan(self, path)

    def figure(self) -> Figure:
        """Draw the plan into a matplotlib figure of its own."""
        from .plot import draw_plan

        return draw_plan(self)

    def image(self) -> np.ndarray:
        """Draw the plan into an array (height, width, 3) of uint8."""
        from .plot import plan_image

        return plan_image(self)

    def to_dict(self) -> dict[str, object]:
        """Return the plan as plain data for a record."""
        return {
            "model": self.model,
            "num_steps": self.num_steps,
            "shift": self.shift,
            "boundary": self.boundary,
            "sigmas": list(self.sigmas),
            "steps": [_step_dict(step) for step in self.steps],
            "loras": [_lora_dict(lora) for lora in self.route.all],
            "advice": [advice.to_dict() for advice in self.advice],
        }


def _step_dict(step: StepPlan) -> dict[str, object]:
    return {
        "index": step.index,
        "sigma": step.sigma,
        "sigma_next": step.sigma_next,
        "expert": step.expert,
        "cfg": step.cfg,
        "strengths": list(step.strengths),
    }


def _lora_dict(lora: RoutedLora) -> dict[str, object]:
    path = lora.weights.path
    return {
        "name": lora.name,
        "file": None if path is None else str(path),
        "expert": lora.expert,
        "strength": lora.strength,
        "schedule": None if lora.schedule is None else str(lora.schedule),
        "num_targets": len(lora.factors),
        "num_filtered": sum(factor != 1 for factor in lora.factors.values()),
    }
