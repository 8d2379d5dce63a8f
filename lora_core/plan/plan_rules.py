"""The field's rules about a plan, one function each, in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..experts import EXPERTS, Expert, expert_at
from ..families.base import ModelSpec
from ..families.family import Customs
from ..families.registry import customs_of
from ..wording import Said, expert_named, said
from .advice import Advice
from .plan import StepPlan
from .route import Route

#: How near a noise level may come to the boundary before the choice of expert is a matter of rounding.
NEAR = 0.01


@dataclass(frozen=True)
class Draft:
    """What the rules look at: the steps of a plan that is being made, and what they were made from."""

    steps: tuple[StepPlan, ...]
    route: Route
    spec: ModelSpec
    boundary: float | None
    shift: float | None

    @property
    def customs(self) -> Customs:
        return customs_of(self.spec)

    def on(self, expert: Expert) -> list[StepPlan]:
        return [step for step in self.steps if step.expert == expert]

    def evidence(self, rule: str, otherwise: str) -> str:
        """Return where the users of the model's family met a rule."""
        return self.customs.evidence.get(rule, otherwise)


def advise_on_plan(draft: Draft) -> tuple[Advice, ...]:
    """Apply every rule to the steps of a plan."""
    return tuple(advice for rule in PLAN_RULES for advice in rule(draft))


def _outside_training(draft: Draft) -> Iterator[Advice]:
    """Tell of a boundary that hands an expert noise levels it never saw."""
    if draft.spec.boundary is None or draft.boundary is None:
        return
    for expert in EXPERTS:
        strays = [
            step
            for step in draft.steps
            if step.expert == expert and expert_at(step.sigma, draft.spec.boundary) != expert
        ]
        if strays:
            levels = ", ".join(f"{step.sigma:.3f}" for step in strays)
            text = said(
                "boundary {boundary} hands the high_noise expert {steps} ({levels}), below the {usual} it was trained "
                "down to. Leave the boundary at 'auto'"
                if expert == "high_noise"
                else "boundary {boundary} hands the low_noise expert {steps} ({levels}), above the {usual} it was "
                "trained up to. Leave the boundary at 'auto'",
                boundary=f"{draft.boundary:g}",
                steps=_steps(strays),
                levels=levels,
                usual=f"{draft.spec.boundary:g}",
            )
            evidence = draft.evidence("expert-out-of-range", f"the boundary of {draft.spec.title}")
            yield Advice(None, "expert-out-of-range", text, evidence)


def _near_boundary(draft: Draft) -> Iterator[Advice]:
    """Name the step nearest to the boundary; a run of many steps has several that are near."""
    boundary = draft.boundary
    if boundary is None:
        return
    step = min(draft.steps, key=lambda step: abs(step.sigma - boundary))
    if abs(step.sigma - boundary) < NEAR:
        text = said(
            "step {step} at sigma {sigma} lies within {near} of the boundary {boundary} "
            "and went to the {expert} expert. Move the boundary to give it to the other one",
            step=step.index + 1,
            sigma=f"{step.sigma:.4f}",
            near=f"{NEAR:g}",
            boundary=f"{boundary:g}",
            expert=expert_named(step.expert),
        )
        yield Advice(None, "near-boundary", text, "sigma >= boundary is the high-noise expert's", "note")


def _cfg_with_speed(draft: Draft) -> Iterator[Advice]:
    for expert, names in _speed_loras(draft).items():
        cfgs = {step.cfg for step in draft.steps if step.expert == expert and step.cfg > 1}
        if names and cfgs:
            text = said(
                "cfg {cfg} on the {expert} expert together with the speed LoRA {names}: "
                "it is distilled to do without, and each step takes twice as long. Use cfg 1",
                cfg=f"{max(cfgs):g}",
                expert=expert_named(expert),
                names=", ".join(names),
            )
            yield Advice(
                names[0], "cfg-with-speed", text, draft.evidence("cfg-with-speed", "what such LoRAs are distilled for")
            )


def _shift_with_speed(draft: Draft) -> Iterator[Advice]:
    names = sorted({name for names in _speed_loras(draft).values() for name in names})
    distilled = draft.customs.distilled_shift
    if names and None not in (draft.shift, distilled) and draft.shift != distilled:
        text = said(
            "shift {shift} with {names}: few-step LoRAs are distilled at shift {usual}. Try that shift",
            shift=f"{draft.shift:g}",
            names=", ".join(names),
            usual=f"{distilled:g}",
        )
        evidence = draft.evidence("shift-with-speed", f"the habit of {draft.spec.title}'s users")
        yield Advice(names[0], "shift-with-speed", text, evidence, "note")


def _few_steps(draft: Draft) -> Iterator[Advice]:
    """Tell of a model that is asked to finish early without a LoRA that taught it to."""
    spec, num_steps = draft.spec, len(draft.steps)
    if not spec.settings_source or 2 * num_steps >= spec.default_num_steps or draft.steps[0].sigma < 1:
        return
    speed = _speed_loras(draft)
    for expert in EXPERTS:
        count = len(draft.on(expert))
        if count and not speed[expert]:
            text = said(
                "{count} of {steps} steps are the {expert} expert's, which has no speed LoRA; without one {model} "
                "wants about {usual_steps} steps, shift {usual_shift} and cfg {usual_cfg}. "
                "Add a speed LoRA or take these",
                count=count,
                steps=num_steps,
                expert=expert_named(expert),
                model=spec.title,
                usual_steps=spec.default_num_steps,
                usual_shift=f"{spec.default_shift:g}",
                usual_cfg=f"{max(spec.default_cfg):g}",
            )
            yield Advice(None, "few-steps-without-speed", text, spec.settings_source)


def _idle_half(draft: Draft) -> Iterator[Advice]:
    """Tell of pairs of which a run that starts from a picture uses the low-noise half alone."""
    idle = [lora.name for lora in draft.route.high_noise if lora.strength]
    if idle and all(step.expert == "low_noise" for step in draft.steps):
        text = said(
            "the run starts at sigma {sigma}, so the high-noise half of {names} has no step. "
            "Start at more noise if it should act",
            sigma=f"{draft.steps[0].sigma:.3f}",
            names=", ".join(idle),
        )
        yield Advice(None, "idle-half", text, f"the boundary {draft.boundary or 0:g}", "note")


def _never_acts(draft: Draft) -> Iterator[Advice]:
    strengths: dict[tuple[int, str], list[float]] = {}
    scheduled = {lora.name for lora in draft.route.all if lora.schedule}
    for step in draft.steps:
        for lora, strength in zip(draft.route.for_expert(step.expert), step.strengths, strict=True):
            strengths.setdefault((lora.index, lora.name), []).append(strength)
    for (_, name), values in sorted(strengths.items()):
        if name in scheduled and not any(values):
            text = said(
                "its schedule is 0 at each of its {steps} steps, so it does nothing. "
                "Raise the schedule, or take the row off",
                steps=len(values),
            )
            yield Advice(name, "never-acts", text, "the plan's own noise levels")


def _speed_loras(draft: Draft) -> dict[Expert, list[str]]:
    """Return, for each expert, the names of the speed LoRAs that act on it."""
    return {
        expert: [
            lora.name for lora in draft.route.for_expert(expert) if lora.strength and lora.weights.purpose == "speed"
        ]
        for expert in EXPERTS
    }


def _steps(steps: list[StepPlan]) -> Said:
    numbers = ", ".join(str(step.index + 1) for step in steps)
    return said("steps {numbers}" if len(steps) > 1 else "step {numbers}", numbers=numbers)


PLAN_RULES: tuple[Callable[[Draft], Iterator[Advice]], ...] = (
    _outside_training,
    _near_boundary,
    _cfg_with_speed,
    _shift_with_speed,
    _few_steps,
    _idle_half,
    _never_acts,
)
