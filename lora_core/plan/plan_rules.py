"""The field's rules about a plan, one function each, in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..experts import EXPERTS, Expert, expert_at
from ..families.base import ModelSpec
from ..families.family import Customs
from ..families.registry import customs_of
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
            side = "below" if expert == "high_noise" else "above"
            text = (
                f"boundary {draft.boundary:g} hands the {expert} expert {_steps(strays)} ({levels}), {side} the "
                f"{draft.spec.boundary:g} it was trained {'down to' if expert == 'high_noise' else 'up to'}. "
                f"Leave the boundary at 'auto'"
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
        text = (
            f"step {step.index + 1} at sigma {step.sigma:.4f} lies within {NEAR:g} of the boundary "
            f"{boundary:g} and went to the {step.expert} expert"
        )
        yield Advice(None, "near-boundary", text, "sigma >= boundary is the high-noise expert's", "note")


def _cfg_with_speed(draft: Draft) -> Iterator[Advice]:
    for expert, names in _speed_loras(draft).items():
        cfgs = {step.cfg for step in draft.steps if step.expert == expert and step.cfg > 1}
        if names and cfgs:
            text = (
                f"cfg {max(cfgs):g} on the {expert} expert together with the speed LoRA {', '.join(names)}: "
                "it is distilled to do without, and each step takes twice as long. Use cfg 1"
            )
            yield Advice(
                names[0], "cfg-with-speed", text, draft.evidence("cfg-with-speed", "what such LoRAs are distilled for")
            )


def _shift_with_speed(draft: Draft) -> Iterator[Advice]:
    names = sorted({name for names in _speed_loras(draft).values() for name in names})
    distilled = draft.customs.distilled_shift
    if names and None not in (draft.shift, distilled) and draft.shift != distilled:
        text = f"shift {draft.shift:g} with {', '.join(names)}: few-step LoRAs are distilled at shift {distilled:g}"
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
            text = (
                f"{count} of {num_steps} steps are the {expert} expert's, which has no speed LoRA; without one "
                f"{spec.title} wants about {spec.default_num_steps} steps, shift {spec.default_shift:g} and cfg "
                f"{max(spec.default_cfg):g}"
            )
            yield Advice(None, "few-steps-without-speed", text, spec.settings_source)


def _idle_half(draft: Draft) -> Iterator[Advice]:
    """Tell of pairs of which a run that starts from a picture uses the low-noise half alone."""
    idle = [lora.name for lora in draft.route.high_noise if lora.strength]
    if idle and all(step.expert == "low_noise" for step in draft.steps):
        start = draft.steps[0].sigma
        text = f"the run starts at sigma {start:.3f}, so the high-noise half of {', '.join(idle)} has no step"
        yield Advice(None, "idle-half", text, f"the boundary {draft.boundary or 0:g}", "note")


def _never_acts(draft: Draft) -> Iterator[Advice]:
    strengths: dict[tuple[int, str], list[float]] = {}
    scheduled = {lora.name for lora in draft.route.all if lora.schedule}
    for step in draft.steps:
        for lora, strength in zip(draft.route.for_expert(step.expert), step.strengths, strict=True):
            strengths.setdefault((lora.index, lora.name), []).append(strength)
    for (_, name), values in sorted(strengths.items()):
        if name in scheduled and not any(values):
            text = f"its schedule is 0 at each of its {len(values)} steps, so it does nothing"
            yield Advice(name, "never-acts", text, "the plan's own noise levels")


def _speed_loras(draft: Draft) -> dict[Expert, list[str]]:
    """Return, for each expert, the names of the speed LoRAs that act on it."""
    return {
        expert: [
            lora.name for lora in draft.route.for_expert(expert) if lora.strength and lora.weights.purpose == "speed"
        ]
        for expert in EXPERTS
    }


def _steps(steps: list[StepPlan]) -> str:
    numbers = ", ".join(str(step.index + 1) for step in steps)
    return f"step{'s' if len(steps) > 1 else ''} {numbers}"


PLAN_RULES: tuple[Callable[[Draft], Iterator[Advice]], ...] = (
    _outside_training,
    _near_boundary,
    _cfg_with_speed,
    _shift_with_speed,
    _few_steps,
    _idle_half,
    _never_acts,
)
