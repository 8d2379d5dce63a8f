"""The routing of a loaded stack to the experts of its model."""

from __future__ import annotations

from collections.abc import Mapping

from ..deltas import Delta
from ..errors import StackError
from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec
from ..families.registry import region_rules
from ..files.weights import LazyDeltas, LoraWeights, outlines_of
from ..stack.entry import LoraEntry
from ..stack.loaded import LoadedLora, LoadedStack
from ..wording import said
from .route import Route, RoutedLora
from .stack_rules import advise_on_stack


def route(loaded: LoadedStack, spec: ModelSpec) -> Route:
    """Say which LoRAs of a stack loaded for a model act on which of its experts."""
    if not isinstance(loaded, LoadedStack):
        raise StackError("stack", "its files have not been read", remedy="Read them with load_stack(stack, spec)")
    check_spec(spec)
    loaded.require(spec)
    routed = [acting for lora in loaded.loras for acting in _routed(lora, spec)]
    high, low = (tuple(lora for lora in routed if lora.expert == expert) for expert in EXPERTS)
    return Route(high, low, advise_on_stack(loaded, (*high, *low)))


def check_spec(spec: object) -> None:
    """Raise unless this is the spec of a model."""
    if not isinstance(spec, ModelSpec):
        raise StackError(
            "spec",
            said("{spec!r:.60} is none", spec=spec),
            expected="a ModelSpec, such as model.spec",
            remedy="Give the spec of a model",
        )


def _routed(lora: LoadedLora, spec: ModelSpec) -> list[RoutedLora]:
    halves = lora.halves()
    if spec.num_experts == 1:
        # The low expert's half is the one made for the noise levels at which a single network ends.
        made_for: Expert = "low_noise" if "low_noise" in halves else "high_noise"
        halves = {made_for: halves[made_for]}
    routed = []
    for made_for, weights in halves.items():
        entry = lora.entry
        deltas, factors = _acting_deltas(entry, weights, made_for, spec)
        if deltas:
            expert: Expert = "low_noise" if spec.num_experts == 1 else made_for
            strength = entry.strength_on(made_for)
            rules = region_rules(spec) if entry.is_masked else None
            no_place = () if rules is None else tuple(t for t in factors if rules.met_by(t) == "global")
            how = entry.schedule, entry.region, entry.over_time, no_place
            routed.append(
                RoutedLora(entry.name, lora.index, expert, strength, deltas, factors, weights, made_for, *how)
            )
    return routed


def _acting_deltas(
    entry: LoraEntry, weights: LoraWeights, expert: Expert, spec: ModelSpec
) -> tuple[Mapping[str, Delta], Mapping[str, float]]:
    """Return the deltas that the model has a target for and the filter does not silence, with the filter's factors."""
    deltas = weights.for_expert(expert)
    outlines = outlines_of(deltas)
    chosen = entry.target_filter
    factors = {
        target: 1.0 if chosen is None else chosen.factor(target, spec)
        for target in outlines
        if spec.why_absent(target) is None
    }
    factors = {target: factor for target, factor in factors.items() if factor != 0}
    if len(factors) == len(outlines):
        return deltas, factors
    build = deltas.once if isinstance(deltas, LazyDeltas) else deltas.__getitem__
    return LazyDeltas({target: outlines[target] for target in factors}, build), factors
