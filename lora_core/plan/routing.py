"""The route: which LoRAs of a stack act on which expert of a model, with which deltas and how strongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..deltas import Delta
from ..errors import LoraMismatchError
from ..experts import EXPERTS, Expert
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..files.weights import LazyDeltas, LoraWeights
from ..stack.entry import LoraEntry
from ..stack.loading import Reader, load_stack
from ..stack.schedule import StrengthSchedule
from ..stack.stack import LoraStack
from .advice import Advice
from .stack_rules import advise_on_stack


@dataclass(frozen=True)
class RoutedLora:
    """Be one LoRA on one expert.

    Attributes:
        index: the entry's place in the stack.
        expert: the expert it acts on.
        made_for: the expert whose half of the entry this is; another one only on a single-expert model.
        weights: the file it comes from.
        deltas: target -> delta, of the targets that this model has and the filter lets through.
        factors: target -> the filter's factor, for the same targets.
    """

    name: str
    index: int
    expert: Expert
    strength: float
    deltas: Mapping[str, Delta] = field(repr=False, compare=False)
    factors: Mapping[str, float] = field(repr=False, compare=False)
    weights: LoraWeights = field(repr=False, compare=False)
    made_for: Expert
    schedule: StrengthSchedule | None = None

    def strengths(self, sigmas: Sequence[float]) -> tuple[float, ...]:
        """Return the strength at each step of a run with these N + 1 sigmas."""
        levels = sigmas[:-1]
        if self.schedule is None:
            return (self.strength,) * len(levels)
        factor = self.schedule.over(sigmas)
        return tuple(self.strength * factor(sigma) for sigma in levels)

    @property
    def peak(self) -> float:
        """The strength furthest from zero that its schedule can reach."""
        return self.strength * (1.0 if self.schedule is None else self.schedule.peak)


@dataclass(frozen=True)
class Route:
    """Hold what acts on each expert, in the stack's order; a single-expert model has `low_noise` alone."""

    high_noise: tuple[RoutedLora, ...] = ()
    low_noise: tuple[RoutedLora, ...] = ()
    advice: tuple[Advice, ...] = ()

    def for_expert(self, expert: Expert) -> tuple[RoutedLora, ...]:
        return self.high_noise if expert == "high_noise" else self.low_noise

    @property
    def all(self) -> tuple[RoutedLora, ...]:
        return self.high_noise + self.low_noise


def route(
    stack: LoraStack,
    spec: ModelSpec,
    *,
    lora_folders: Sequence[str | Path] = (),
    find_twins: bool = True,
    allow_partial: bool = False,
    read: Reader | None = None,
) -> Route:
    """Say which LoRAs act on which expert; files not yet read are read. The arguments are `load_stack`'s."""
    loaded = load_stack(
        stack, spec, lora_folders=lora_folders, find_twins=find_twins, allow_partial=allow_partial, read=read
    )
    routed = [lora for index, entry in enumerate(loaded) if entry.enabled for lora in _routed_entry(entry, index, spec)]
    high, low = (tuple(lora for lora in routed if lora.expert == expert) for expert in EXPERTS)
    return Route(high, low, advise_on_stack(loaded, spec, (*high, *low)))


def _routed_entry(entry: LoraEntry, index: int, spec: ModelSpec) -> list[RoutedLora]:
    halves = halves_of(entry)
    if spec.num_experts == 1:
        # The low expert's half is the one made for the noise levels at which a single network ends.
        made_for: Expert = "low_noise" if "low_noise" in halves else "high_noise"
        halves = {made_for: halves[made_for]}
    routed = []
    for made_for, weights in halves.items():
        deltas, factors = _acting_deltas(entry, weights, made_for, spec)
        if deltas:
            expert: Expert = "low_noise" if spec.num_experts == 1 else made_for
            strength = entry.strength_on(made_for)
            routed.append(
                RoutedLora(entry.name, index, expert, strength, deltas, factors, weights, made_for, entry.schedule)
            )
    return routed


def halves_of(entry: LoraEntry) -> dict[Expert, LoraWeights]:
    """Return which weights of an entry act on which of two experts."""
    weights, second = entry.weights, entry.low_noise_weights
    assert weights is not None, f"{entry.name} is not loaded"
    experts: tuple[Expert, ...]
    if entry.applies_to != "auto":
        experts = EXPERTS if entry.applies_to == "both" else (entry.applies_to,)
    elif second is not None or weights.expert in (None, "both"):
        experts = EXPERTS
    else:
        experts = (weights.expert,)  # type: ignore[assignment]  # neither None nor "both"
    return {expert: second if second is not None and expert == "low_noise" else weights for expert in experts}


def _acting_deltas(
    entry: LoraEntry, weights: LoraWeights, expert: Expert, spec: ModelSpec
) -> tuple[Mapping[str, Delta], Mapping[str, float]]:
    """Return the deltas that the model has a target for and the filter does not silence, with the filter's factors."""
    deltas = weights.for_expert(expert)
    outlines = outlines_of(deltas)
    _check_fit(weights, outlines, spec)
    filtered = entry.target_filter
    factors = {
        target: 1.0 if filtered is None else filtered.factor(target)
        for target in outlines
        if spec.why_absent(target) is None
    }
    factors = {target: factor for target, factor in factors.items() if factor != 0}
    if len(factors) == len(outlines):
        return deltas, factors
    return LazyDeltas({target: outlines[target] for target in factors}, deltas.__getitem__), factors


def outlines_of(deltas: Mapping[str, Delta]) -> Mapping[str, Delta]:
    """Return the same deltas for a look at kinds and shapes, without reading values that are still in a file."""
    return deltas.outlines if isinstance(deltas, LazyDeltas) else deltas


def _check_fit(weights: LoraWeights, outlines: Mapping[str, Delta], spec: ModelSpec) -> None:
    """Refuse weights that were made, or read, for a model of other targets or shapes."""
    misfits = []
    for target, delta in outlines.items():
        shape = spec.shapes.get(target)
        if shape is None:
            if spec.why_absent(target) is None:
                misfits.append(f"{target} is not in it")
        elif shape != UNKNOWN_SHAPE and tuple(delta.shape) != tuple(shape):
            misfits.append(f"{target} is {_size(delta.shape)} instead of {_size(shape)}")
    if not misfits and any(spec.why_absent(target) is None for target in outlines):
        return
    what = "; ".join(misfits[:3]) or "none of its targets is in it"
    more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
    raise LoraMismatchError(
        weights.path or weights.name,
        f"does not fit {spec.title}: {what}{more}",
        expected=f"a LoRA for {spec.name}" if weights.base is None else f"it looks like one for {weights.base}",
        remedy="Choose a LoRA made for this model",
    )


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
