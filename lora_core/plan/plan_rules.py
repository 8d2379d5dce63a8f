"""The field's rules about a plan, one function each, in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec
from .advice import Advice, purpose_of

if TYPE_CHECKING:
    from .plan import SamplingPlan, StepPlan

#: How near a noise level may come to the boundary before the choice of expert is a matter of rounding.
NEAR = 0.01

#: The shift that the few-step LoRAs in use are distilled for.
DISTILLED_SHIFT = 5.0


def advise_on_plan(plan: SamplingPlan, spec: ModelSpec) -> tuple[Advice, ...]:
    """Apply every rule to the steps of a plan."""
    return tuple(advice for rule in PLAN_RULES for advice in rule(plan, spec))


def _outside_training(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    """Tell of a boundary that hands an expert noise levels it never saw."""
    if spec.boundary is None or plan.boundary is None:
        return
    for expert in EXPERTS:
        strays = [step for step in plan.steps if step.expert == expert and _belongs(step, spec.boundary) != expert]
        if strays:
            levels = ", ".join(f"{step.sigma:.3f}" for step in strays)
            side = "below" if expert == "high_noise" else "above"
            text = (
                f"boundary {plan.boundary:g} hands the {expert} expert {_steps(strays)} ({levels}), {side} the "
                f"{spec.boundary:g} it was trained {'down to' if expert == 'high_noise' else 'up to'}. "
                f"Leave the boundary at 'auto'"
            )
            evidence = "three and three of six steps at shift 8 do that to T2V's low expert: WanVideoWrapper#1272"
            yield Advice(None, "expert-out-of-range", text, evidence)


def _belongs(step: StepPlan, boundary: float) -> Expert:
    return "high_noise" if step.sigma >= boundary else "low_noise"


def _near_boundary(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    """Name the step nearest to the boundary; a run of many steps has several that are near."""
    boundary = plan.boundary
    if boundary is None:
        return
    step = min(plan.steps, key=lambda step: abs(step.sigma - boundary))
    if abs(step.sigma - boundary) < NEAR:
        text = (
            f"step {step.index + 1} at sigma {step.sigma:.4f} lies within {NEAR:g} of the boundary "
            f"{boundary:g} and went to the {step.expert} expert"
        )
        yield Advice(None, "near-boundary", text, "sigma >= boundary is the high-noise expert's", "note")


def _cfg_with_speed(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    for expert, names in _speed_loras(plan).items():
        cfgs = {step.cfg for step in plan.steps if step.expert == expert and step.cfg > 1}
        if names and cfgs:
            text = (
                f"cfg {max(cfgs):g} on the {expert} expert together with the speed LoRA {', '.join(names)}: "
                "it is distilled to do without, and each step takes twice as long. Use cfg 1"
            )
            yield Advice(names[0], "cfg-with-speed", text, "lightx2v's configurations set enable_cfg to false")


def _shift_with_speed(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    names = sorted({name for names in _speed_loras(plan).values() for name in names})
    if names and plan.shift is not None and plan.shift != DISTILLED_SHIFT:
        text = (
            f"shift {plan.shift:g} with {', '.join(names)}: few-step LoRAs are distilled at shift {DISTILLED_SHIFT:g}"
        )
        evidence = "lightx2v's configurations: sample_shift 5, timesteps 1000, 937.5, 833.3, 625"
        yield Advice(names[0], "shift-with-speed", text, evidence, "note")


def _few_steps(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    """Tell of a Wan that is asked to finish early without a LoRA that taught it to."""
    if not spec.name.startswith("wan2.") or 2 * plan.num_steps >= spec.default_num_steps or plan.sigmas[0] < 1:
        return
    speed = _speed_loras(plan)
    for expert in EXPERTS:
        count = sum(step.expert == expert for step in plan.steps)
        if count and not speed[expert]:
            text = (
                f"{count} of {plan.num_steps} steps are the {expert} expert's, which has no speed LoRA; without one "
                f"{spec.title} wants about {spec.default_num_steps} steps and cfg {max(spec.default_cfg):g}"
            )
            yield Advice(None, "few-steps-without-speed", text, "Wan's own configuration files")


def _idle_half(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    """Tell of pairs of which a run that starts from a picture uses the low-noise half alone."""
    idle = [lora.name for lora in plan.route.high_noise if lora.strength]
    if idle and all(step.expert == "low_noise" for step in plan.steps):
        text = f"the run starts at sigma {plan.sigmas[0]:.3f}, so the high-noise half of {', '.join(idle)} has no step"
        yield Advice(None, "idle-half", text, f"the boundary {plan.boundary or 0:g}", "note")


def _never_acts(plan: SamplingPlan, spec: ModelSpec) -> Iterator[Advice]:
    for name in plan.names:
        strengths = [strength for strength in plan.strengths_of(name) if strength is not None]
        scheduled = any(lora.schedule for lora in plan.route.all if lora.name == name)
        if scheduled and not any(strengths):
            text = f"its schedule is 0 at each of its {len(strengths)} steps, so it does nothing"
            yield Advice(name, "never-acts", text, "the plan's own noise levels")


def _speed_loras(plan: SamplingPlan) -> dict[Expert, list[str]]:
    """Return, for each expert, the names of the speed LoRAs that act on it."""
    return {
        expert: [
            lora.name for lora in plan.route.for_expert(expert) if lora.strength and purpose_of(lora.weights) == "speed"
        ]
        for expert in EXPERTS
    }


def _steps(steps: list[StepPlan]) -> str:
    numbers = ", ".join(str(step.index + 1) for step in steps)
    return f"step{'s' if len(steps) > 1 else ''} {numbers}"


PLAN_RULES: tuple[Callable[[SamplingPlan, ModelSpec], Iterator[Advice]], ...] = (
    _outside_training,
    _near_boundary,
    _cfg_with_speed,
    _shift_with_speed,
    _few_steps,
    _idle_half,
    _never_acts,
)
