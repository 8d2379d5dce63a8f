"""The planning of a run: every mistake in its settings is found here, before a network is loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..checks import from_settings, showing_settings
from ..errors import PlanError
from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec
from ..stack.loaded import LoadedStack
from ..wording import Said, expert_named, joined, said
from .plan import SamplingPlan, StepPlan
from .plan_rules import Draft, advise_on_plan
from .route import Route, RoutedLora
from .routing import check_spec, route
from .settings import Boundary, RunSettings
from .sigmas import check_boundary, split_by_boundary

_log = logging.getLogger(__name__)


@showing_settings(RunSettings)
def make_plan(
    stack: LoadedStack | Route,
    spec: ModelSpec,
    settings: RunSettings | None = None,
    **named: Any,  # the settings are spelt once, in RunSettings, which refuses a name it does not have
) -> SamplingPlan:
    """Plan a run; everything that can be wrong with its settings is found here.

    Args:
        stack: a stack loaded for this model, or a route already made of one.
        spec: the model.
        settings: how the run goes; a `GenerationRequest` is one too.
        named: the same by name, as in `make_plan(stack, spec, num_steps=6, cfg=(3.5, 1))`.
    """
    if settings is None:
        settings = from_settings(RunSettings, named, "make_plan", PlanError)
    elif named:
        raise PlanError(
            "make_plan",
            said("{name!r} beside settings", name=next(iter(named))),
            expected="one way of saying it",
            remedy="Leave one of the two out",
        )
    if not isinstance(settings, RunSettings):
        raise PlanError(
            "make_plan",
            said("{settings!r} is no settings", settings=settings),
            expected="RunSettings, or settings by name",
            remedy="Give a RunSettings",
        )
    routed = stack if isinstance(stack, Route) else route(stack, spec)
    check_spec(spec)
    levels, limit = settings.levels(spec), _boundary(settings.boundary, spec)
    guidance = dict(zip(EXPERTS, settings.cfg_pair(), strict=True))
    experts = split_by_boundary(levels, limit)
    starts_late = settings.sigmas is None and levels[0] < 1
    _check_every_lora_has_a_step(routed, experts, levels, limit, starts_late)
    strengths = {expert: _strength_rows(routed.for_expert(expert), levels) for expert in EXPERTS}
    steps = tuple(
        StepPlan(i, levels[i], levels[i + 1], expert, guidance[expert], strengths[expert][i])
        for i, expert in enumerate(experts)
    )
    shift = settings.used_shift(spec)
    schedule = settings.used_schedule(spec) if settings.sigmas is None else ""
    advice = advise_on_plan(Draft(steps, routed, spec, limit, shift))
    clip = spec.default_clip
    plan = SamplingPlan(
        *(steps, routed, spec.title, limit, shift, advice),
        schedule=schedule,
        num_frames=clip.num_frames,
        fps=clip.fps,
    )
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
        raise PlanError(
            "boundary",
            said("{number:g} for {spec}, which has one expert", number=number, spec=spec.title),
            remedy=remedy,
        )
    return number


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
            what = said("it gets no step, but {idle} should act on it", idle=", ".join(idle))
            remedy = "Move the boundary, change the steps, or route these LoRAs to the other expert"
            raise PlanError(
                said("{expert} expert", expert=expert_named(expert)),
                what,
                expected=_levels_there_are(expert, sigmas, boundary),
                remedy=remedy,
            )


def _levels_there_are(expert: Expert, sigmas: Sequence[float], boundary: float | None) -> Said:
    """Say why an expert has no step: the noise levels are all on the other side of the boundary."""
    if boundary is None:
        found = said("the model has one expert")
    elif expert == "high_noise":
        found = said("no noise level is at or above {boundary:g}", boundary=boundary)
    else:
        found = said("no noise level is below {boundary:g}", boundary=boundary)
    first, last = f"{sigmas[0]:.4g}", f"{sigmas[-2]:.4g}"
    if first == last:
        return joined("; ", [found, said("the only one is {first}", first=first)])
    return joined("; ", [found, said("they run from {first} to {last}", first=first, last=last)])
