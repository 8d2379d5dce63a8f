"""The steering of a run: LoRAs of a small model, the guide, act on a large one by what they change in the guide.

Delta Sampling (arXiv 2512.03056) adds at each step, on the clean latents x0 that models predict,

    x0 = x0_large + lambda (x0_guide with its LoRAs - x0_guide)

each prediction with its own guidance. No shape of one model has to match one of the other; what has to is what they
predict: latents of the same VAE, from texts of the same encoder. Proxy tuning (arXiv 2401.08565) is the same on logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..checks import finite_number, number_text, typed
from ..errors import ModelError, PlanError, StackError
from ..experts import expert_at
from ..families.base import ModelSpec
from ..stack.loaded import LoadedStack
from ..stack.schedule import StrengthSchedule
from ..wording import Said, joined, said
from .advice import Advice
from .plan import SamplingPlan
from .planning import make_plan
from .settings import RunSettings

#: The sigma down to which a guide steers; "auto" spares the low-noise steps of a distilled run, None no step.
Above = float | Literal["auto"] | None

#: What of two models has to be the same: field of their specs -> what it is called.
_SHARED = {
    "family": "family of models",
    "latent_channels": "latent channels",
    "vae_stride": "pixels per latent element (frames, rows, columns)",
    "text_width": "width of embedded texts",
}
_EVIDENCE = "arXiv 2512.03056"


@dataclass(frozen=True, kw_only=True)
class SteerSettings:
    """How a guide steers.

    Attributes:
        strength: lambda; 1 adds all that the LoRAs change in the guide, 0 leaves the large model alone.
        schedule: a factor on it by noise level, or its text form.
        above: the sigma down to which the guide steers at all, None for every step. "auto" is the boundary between the
            experts where a speed LoRA acts on the large model: a distilled step is a long jump, and what the guide
            tells of is the direction at its start. Without such a LoRA, or without a boundary, it is every step.
        cfg: the guide's own guidance, one value or (high_noise, low_noise); None for the run's.
    """

    strength: float = 1.0
    schedule: StrengthSchedule | str | None = None
    above: Above = "auto"
    cfg: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", finite_number(self.strength, "guide: strength", PlanError))
        if self.schedule is not None and not isinstance(self.schedule, StrengthSchedule):
            object.__setattr__(self, "schedule", StrengthSchedule.from_json(self.schedule))
        if self.above not in ("auto", None):
            number = finite_number(self.above, "guide: above", PlanError)
            if not 0 <= number <= 1:
                raise PlanError(
                    "guide: above",
                    said("{number:g} is no noise level", number=number),
                    expected="a sigma from 0 to 1",
                    remedy="Choose a number in that range",
                )
        if self.cfg is not None:
            RunSettings(cfg=self.cfg).cfg_pair()

    def to_json(self) -> dict[str, object]:
        """Return plain data for a record; `SteerSettings(**row)` reads it back."""
        cfg = list(self.cfg) if isinstance(self.cfg, (tuple, list)) else self.cfg
        schedule = None if self.schedule is None else str(self.schedule)
        return {"strength": self.strength, "schedule": schedule, "above": self.above, "cfg": cfg}


@dataclass(frozen=True)
class Steering:
    """What the guide does at every step of a run.

    Attributes:
        plan: the guide's own steps at the same noise levels: its expert, its guidance, its LoRAs' strengths.
        strengths: lambda at each step; 0, and the guide does not run, also where its own LoRAs all rest.
    """

    plan: SamplingPlan
    strengths: tuple[float, ...]

    @property
    def acting(self) -> tuple[bool, ...]:
        return tuple(strength != 0 for strength in self.strengths)

    @property
    def is_guided(self) -> bool:
        """Whether a step at which it acts needs a negative prompt."""
        return any(acts and step.cfg != 1 for acts, step in zip(self.acting, self.plan.steps, strict=True))

    def part(self, first: int, last: int | None) -> Steering:
        return Steering(self.plan.part(first, last), self.strengths[first:last])

    def to_dict(self) -> dict[str, object]:
        """Return plain data for a record."""
        return {"strengths": list(self.strengths), "plan": self.plan.to_dict()}

    def text(self) -> Said:
        """Return it as text for people: lambda by step, then the guide's own plan."""
        runs = ", ".join(number_text(round(strength, 4)) for strength in self.strengths)
        head = said(
            "steered at {acting} of {steps} steps, lambda {runs}, by",
            acting=sum(self.acting),
            steps=len(self.strengths),
            runs=runs,
        )
        return joined("\n", [head, self.plan.table()])


@typed(PlanError)
def steered(
    plan: SamplingPlan,
    spec: ModelSpec,
    guide_spec: ModelSpec,
    guide_stack: LoadedStack,
    run: RunSettings,
    settings: SteerSettings,
) -> SamplingPlan:
    """Return the plan of a run with a guide beside it, or say why this guide cannot steer it.

    Args:
        plan: of the large model.
        spec: the large model.
        guide_spec: the guide, one expert or two.
        guide_stack: the LoRAs whose change is wanted, loaded for the guide.
        run: the settings that `plan` was made with; the guide works at the same noise levels.
        settings: how it steers.
    """
    check_guide(spec, guide_spec)
    if not any(lora.entry.strength_on(expert) for lora in guide_stack.loras for expert in lora.halves()):
        remedy = "Give it the LoRAs that are to steer, or leave it out"
        raise PlanError("guide", "no LoRA acts on it, so it would change nothing", remedy=remedy)
    own = replace(run, cfg=run.cfg if settings.cfg is None else settings.cfg, boundary="auto")
    guide_plan = make_plan(guide_stack, guide_spec, own)
    if masked := [lora.name for lora in guide_plan.route.all if lora.is_masked]:
        what = said("{name} has a region or a time, and LoRAs of a guide act on the whole clip", name=masked[0])
        raise StackError("guide", what, remedy="Take it off the LoRA, or put the LoRA on the model itself")
    limit = _limit(plan, settings.above)
    schedule = None if settings.schedule is None else settings.schedule.over(plan.sigmas)  # type: ignore[union-attr]  # parsed when it was built
    strengths = tuple(
        settings.strength * (1.0 if schedule is None else schedule(step.sigma))
        if step.sigma >= limit and any(own_step.strengths)
        else 0.0
        for step, own_step in zip(plan.steps, guide_plan.steps, strict=True)
    )
    steering = Steering(guide_plan, strengths)
    advice = tuple(_advise(plan, steering, settings))
    return replace(plan, steering=steering, plan_advice=(*plan.plan_advice, *advice))


def check_guide(spec: ModelSpec, guide: ModelSpec) -> None:
    """Raise unless two models predict the same kind of latents from the same kind of texts."""
    for field, what in _SHARED.items():
        ours, theirs = getattr(spec, field), getattr(guide, field)
        if ours != theirs:
            raise ModelError(
                "guide",
                said(
                    "{guide} and {spec} differ in their {what}: {theirs} and {ours}",
                    guide=guide.title,
                    spec=spec.title,
                    what=what,
                    theirs=theirs,
                    ours=ours,
                ),
                expected="a model on the same latents and the same text encoder",
                remedy="Take another guide; what one predicts would mean nothing to the other",
            )
    if guide.image_conditioned and not spec.image_conditioned:
        what = said("{guide} continues a picture and {spec} is given none", guide=guide.title, spec=spec.title)
        raise ModelError("guide", what, remedy="Take a guide that makes video from text")


def pass_flops(spec: ModelSpec, latents: Sequence[int]) -> float:
    """Return the floating point operations of one pass over latents (B, C, F, H, W): 2 P L + 4 L^2 sum D.

    P parameters multiply each of L tokens, and each block of width D compares all of them with all.
    """
    num_tokens = math.prod(latents[2:]) / math.prod(spec.patch_size)
    num_parameters = sum(math.prod(shape) for shape in spec.shapes.values())
    widths: dict[int, int] = {}
    for target, shape in spec.shapes.items():
        block = spec.block_of(target)
        if block is not None and len(shape) == 2 and spec.kind_of(target) == "self_attn":
            widths[block[0]] = max(widths.get(block[0], 0), shape[0])
    return latents[0] * (2 * num_parameters * num_tokens + 4 * num_tokens**2 * sum(widths.values()))


def steering_cost(plan: SamplingPlan, spec: ModelSpec, guide: ModelSpec, latents: Sequence[int]) -> float:
    """Return what the guide adds to a run, as a share of what the large model computes alone (0.33: a third more)."""
    assert plan.steering is not None
    large = sum(_num_passes(step.cfg) for step in plan.steps) * pass_flops(spec, latents)
    pairs = zip(plan.steering.acting, plan.steering.plan.steps, strict=True)
    return sum(2 * _num_passes(step.cfg) for acts, step in pairs if acts) * pass_flops(guide, latents) / large


def cost_text(plan: SamplingPlan, spec: ModelSpec, guide: ModelSpec, latents: Sequence[int]) -> Said:
    """Say what a guide costs in a run."""
    assert plan.steering is not None
    size = sum(math.prod(shape) for shape in guide.shapes.values()) * guide.num_experts
    return said(
        "guide: {guide} runs twice at {acting} of {steps} steps, {share} more arithmetic than without it, and {size} "
        "parameters more in memory",
        guide=guide.title,
        acting=sum(plan.steering.acting),
        steps=plan.num_steps,
        share=f"{steering_cost(plan, spec, guide, latents):.0%}",
        size=f"{size:,}",
    )


def _num_passes(cfg: float) -> int:
    return 1 if cfg == 1 else 2


def _has_speed(plan: SamplingPlan) -> bool:
    return any(lora.weights.purpose == "speed" and lora.strength for lora in plan.route.all)


def _limit(plan: SamplingPlan, above: Above) -> float:
    """Return the sigma below which the guide rests."""
    if above == "auto":
        return (plan.boundary or 0.0) if _has_speed(plan) else 0.0
    return 0.0 if above is None else float(above)


def _advise(plan: SamplingPlan, steering: Steering, settings: SteerSettings) -> Iterator[Advice]:
    if not any(steering.acting):
        text = said("the guide's lambda is 0 at every step, so it does nothing")
        yield Advice(None, "guide-never-acts", text, _EVIDENCE)
    limit = _limit(plan, settings.above)
    resting = [str(step.index + 1) for step in plan.steps if step.sigma < limit]
    if settings.above == "auto" and resting and any(steering.acting):
        text = said(
            "the guide rests below sigma {sigma} (step {steps}), where a distilled step "
            "jumps further than a guide can tell. Let 'above' be None to steer every step",
            sigma=f"{plan.boundary:g}",
            steps=", ".join(resting),
        )
        yield Advice(None, "guide-rests", text, _EVIDENCE, "note")
    late = [
        str(step.index + 1)
        for step, acts in zip(plan.steps, steering.acting, strict=True)
        if acts and expert_at(step.sigma, plan.boundary) == "low_noise"
    ]
    if late and _has_speed(plan):
        text = said(
            "the guide steers step {steps} of a distilled run: such a step is a long jump, and the guide "
            "tells of the direction at its start alone. Steer the high-noise steps",
            steps=", ".join(late),
        )
        yield Advice(None, "guide-on-distilled", text, _EVIDENCE)
    yield from (replace(advice, text=said("guide: {text}", text=advice.text)) for advice in steering.plan.advice)
