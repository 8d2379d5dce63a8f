"""The sampling plan: for every step its noise level, its expert, its cfg and the strength of each LoRA."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..checks import finite_number
from ..errors import PlanError
from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec
from ..stack.stack import LoraStack
from .advice import Advice
from .plan_rules import advise_on_plan
from .routing import Route, RoutedLora, route
from .sigmas import check_boundary, check_sigmas, flow_sigmas, split_by_boundary

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

Boundary = float | Literal["auto"] | None


@dataclass(frozen=True)
class StepPlan:
    """Be one evaluation of the network.

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
    """Hold the steps of a run, and what they were made from.

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
        from .plan_table import plan_table

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


def make_plan(
    stack: LoraStack | Route,
    spec: ModelSpec,
    *,
    num_steps: int = 6,
    shift: float = 5.0,
    boundary: Boundary = "auto",
    cfg: float | tuple[float, float] = 1.0,
    sigmas: Iterable[float] | None = None,
    denoise: float = 1.0,
) -> SamplingPlan:
    """Plan a run; everything that can be wrong with its settings is found here.

    Args:
        stack: a stack, or a route already made for this model.
        spec: the model.
        num_steps: how often the network is evaluated.
        shift: the shift of the flow schedule.
        boundary: "auto" is the model's own; None has one network do every step.
        cfg: guidance, one for both experts or (high_noise, low_noise); 1 needs no negative prompt and half the time.
        sigmas: noise levels of one's own, down to 0; they take the place of num_steps, shift and denoise.
        denoise: the last part of the run to do, below 1 when it starts from a picture; see `flow_sigmas`.
    """
    levels = flow_sigmas(num_steps, shift, denoise=denoise) if sigmas is None else check_sigmas(sigmas)
    limit = _boundary(boundary, spec)
    guidance = dict(zip(EXPERTS, _cfg_pair(cfg), strict=True))
    routed = stack if isinstance(stack, Route) else route(stack, spec)
    experts = split_by_boundary(levels, limit)
    starts_late = sigmas is None and levels[0] < 1
    _check_every_lora_has_a_step(routed, experts, levels, limit, starts_late)
    strengths = {expert: _strength_rows(routed.for_expert(expert), levels) for expert in EXPERTS}
    steps = tuple(
        StepPlan(i, levels[i], levels[i + 1], expert, guidance[expert], strengths[expert][i])
        for i, expert in enumerate(experts)
    )
    used_shift = float(shift) if sigmas is None else None
    plan = SamplingPlan(steps, routed, spec.title, limit, used_shift)
    plan = SamplingPlan(steps, routed, spec.title, limit, used_shift, advise_on_plan(plan, spec))
    split = ", ".join(f"{experts.count(expert)} {expert}" for expert in EXPERTS)
    _log.info("plan for %s: %d steps (%s), %d LoRAs", spec.title, len(steps), split, len(plan.names))
    return plan


def _strength_rows(loras: Sequence[RoutedLora], sigmas: Sequence[float]) -> list[tuple[float, ...]]:
    """Return, for every step, the strength of each of these LoRAs at its noise level."""
    columns = [lora.strengths(sigmas) for lora in loras]
    return [tuple(column[i] for column in columns) for i in range(len(sigmas) - 1)]


def _boundary(boundary: Boundary, spec: ModelSpec) -> float | None:
    if boundary == "auto":
        return spec.boundary
    if boundary is None:
        return None
    number = check_boundary(boundary)
    if spec.boundary is None:
        remedy = "Leave the boundary at 'auto'"
        raise PlanError("boundary", f"{number:g} for {spec.title}, which has one expert", remedy=remedy)
    return number


def _cfg_pair(cfg: object) -> tuple[float, float]:
    """Return the guidance of (high_noise, low_noise)."""
    given = list(cfg) if isinstance(cfg, (tuple, list)) else [cfg, cfg]
    if len(given) != 2:
        raise PlanError("cfg", f"{len(given)} values", expected="one number, or (high_noise, low_noise)")
    high, low = (finite_number(value, "cfg", PlanError) for value in given)
    if min(high, low) < 0:
        raise PlanError(
            "cfg", f"{min(high, low):g} is negative", expected="1 without a negative prompt, usually 1 to 6"
        )
    return high, low


def _check_every_lora_has_a_step(
    routed: Route, experts: Sequence[Expert], sigmas: Sequence[float], boundary: float | None, starts_late: bool
) -> None:
    """Refuse a plan that leaves an expert without a step although LoRAs were put on it.

    A run that starts late on purpose, from a picture, may leave the high-noise half of a pair idle; advice tells.
    """
    low = {lora.name for lora in routed.low_noise if lora.strength}
    for expert in EXPERTS:
        spared = low if starts_late and expert == "high_noise" else set()
        idle = [lora.name for lora in routed.for_expert(expert) if lora.strength and lora.name not in spared]
        if idle and expert not in experts:
            side = "at or above" if expert == "high_noise" else "below"
            what = f"it gets no step, but {', '.join(idle)} should act on it"
            found = "the model has one expert" if boundary is None else f"no noise level is {side} {boundary:g}"
            levels = f"they run from {sigmas[0]:.4g} to {sigmas[-2]:.4g}"
            remedy = "Move the boundary, change the steps, or route these LoRAs to the other expert"
            raise PlanError(f"{expert} expert", what, expected=f"{found}; {levels}", remedy=remedy)


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
