"""The field's rules about a stack on a model, one function each, in a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..experts import EXPERTS, Expert, twin_names
from ..families.base import ModelSpec
from ..stack.entry import LoraEntry
from .advice import TURNED_UP_SPEED, USUAL_STRENGTHS, Advice, purpose_of

if TYPE_CHECKING:
    from ..files.weights import LoraWeights
    from ..stack.stack import LoraStack
    from .routing import RoutedLora

#: The field's guides stop here; every LoRA was trained as if it were alone.
MANY_LORAS = 4

_WAN_EXPERTS = "Wan 2.2's high-noise expert never saw noise below the boundary, nor the low-noise one above it"


@dataclass(frozen=True)
class Routing:
    """Be what the rules look at: a loaded stack, the model, and what of the stack acts where."""

    stack: LoraStack
    spec: ModelSpec
    routed: tuple[RoutedLora, ...]

    @cached_property
    def enabled(self) -> tuple[LoraEntry, ...]:
        return tuple(entry for entry in self.stack if entry.enabled)

    @cached_property
    def speed(self) -> tuple[RoutedLora, ...]:
        return tuple(lora for lora in self.routed if purpose_of(lora.weights) == "speed" and lora.strength)

    def on(self, expert: Expert) -> list[RoutedLora]:
        return [lora for lora in self.routed if lora.expert == expert]


def advise_on_stack(stack: LoraStack, spec: ModelSpec, routed: Sequence[RoutedLora]) -> tuple[Advice, ...]:
    """Apply every rule to a loaded stack and what of it acts on `spec`."""
    routing = Routing(stack, spec, tuple(routed))
    return tuple(dict.fromkeys(advice for rule in STACK_RULES for advice in rule(routing)))


def _twins(routing: Routing) -> Iterator[Advice]:
    for entry in routing.enabled:
        weights = entry.weights
        if entry.found_twin and entry.low_noise_path is not None:
            text = (
                f"its low-noise twin {entry.low_noise_path.name} was found beside it and acts on the low-noise expert"
            )
            yield Advice(entry.name, "twin-found", text, "names that differ in high and low alone", "note")
        elif entry.path and weights and weights.expert == "high_noise" and _left_alone(entry, routing.spec):
            names = ", ".join(twin_names(entry.path)) or "no name: its own does not tell its expert"
            why = f"no twin was found (looked for {names})" if entry.find_twin else "the search for its twin is off"
            text = f"it acts on the high-noise expert only: {why}. Name the low-noise file if there is one"
            yield Advice(entry.name, "no-twin", text, "LoRAs for Wan 2.2 14B come as pairs", "note")


def _left_alone(entry: LoraEntry, spec: ModelSpec) -> bool:
    return spec.num_experts == 2 and entry.applies_to == "auto" and entry.low_noise_weights is None


def _unused_strength(routing: Routing) -> Iterator[Advice]:
    for index, entry in enumerate(routing.stack):
        if entry.enabled and entry.low_noise_strength is not None:
            halves = [lora.made_for for lora in routing.routed if lora.index == index]
            if "low_noise" not in halves:
                text = f"its low-noise strength {entry.low_noise_strength:g} is not used: nothing of it acts there"
                yield Advice(entry.name, "unused-low-strength", text, "what the file says of its expert")


def _no_hint(routing: Routing) -> Iterator[Advice]:
    for entry in routing.enabled:
        if entry.weights is not None and entry.weights.expert is None and _left_alone(entry, routing.spec):
            text = "the file does not say which expert it is for, so it acts on both. Set applies_to if you know"
            yield Advice(entry.name, "no-expert-hint", text, "neither its name, metadata nor prefixes tell", "note")


def _wrong_slot(routing: Routing) -> Iterator[Advice]:
    if routing.spec.num_experts == 1:
        return
    for lora in routing.routed:
        hint = lora.weights.expert
        if hint in EXPERTS and hint != lora.expert:
            made, slot = hint.removesuffix("_noise"), lora.expert.removesuffix("_noise")
            source = f" ({lora.weights.expert_source})" if lora.weights.expert_source else ""
            text = f"a {made}-noise file{source} acts on the {slot}-noise expert. Use its {slot}-noise file there"
            yield Advice(lora.name, f"{made}-file-in-{slot}-slot", text, _WAN_EXPERTS)


def _single_expert(routing: Routing) -> Iterator[Advice]:
    if routing.spec.num_experts == 2:
        return
    for lora in routing.routed:
        entry = routing.stack.entries[lora.index]
        evidence = f"{routing.spec.title} is one network for all noise levels"
        if entry.applies_to == "high_noise" or (lora.made_for == "high_noise" and lora.weights.expert == "high_noise"):
            text = "made for the high-noise expert, it acts on the model's only one, at all noise levels"
            yield Advice(lora.name, "high-file-on-single-expert", text, evidence)
        elif entry.low_noise_weights is not None:
            text = "of the pair only the low-noise file acts, since the model has one expert"
            yield Advice(lora.name, "half-of-pair", text, evidence, "note")


def _speed_on_one_expert(routing: Routing) -> Iterator[Advice]:
    if routing.spec.num_experts == 1:
        return
    served = {lora.expert for lora in routing.speed}
    for lora in routing.speed:
        if len(served) == 1:
            (other,) = set(EXPERTS) - served
            text = (
                f"a speed LoRA acts on the {lora.expert} expert and none on the {other} one, which then needs "
                "its usual cfg and many more steps"
            )
            evidence = "lightx2v's Wan 2.2 configurations give both experts one, at strength 1 and without cfg"
            yield Advice(lora.name, "speed-on-one-expert", text, evidence)


def _two_speeds(routing: Routing) -> Iterator[Advice]:
    for expert in EXPERTS:
        loras = [lora for lora in routing.speed if lora.expert == expert]
        total = sum(abs(lora.peak) for lora in loras)
        if len(loras) > 1 and total > USUAL_STRENGTHS["speed"].highest:
            names = " and ".join(lora.name for lora in loras)
            text = f"{names} are speed LoRAs of together {total:g} on the {expert} expert. Keep one, or blend them"
            yield Advice(None, "two-speed-loras", text, "each is distilled to do the whole shortening alone")


def _many(routing: Routing) -> Iterator[Advice]:
    for expert in EXPERTS:
        loras = routing.on(expert)
        if len(loras) > MANY_LORAS:
            total = sum(abs(lora.peak) for lora in loras)
            text = f"{len(loras)} LoRAs of together {total:g} act on the {expert} expert; they may blur each other"
            evidence = f"guides keep to {MANY_LORAS}: each was trained alone and their changes add up"
            yield Advice(None, "many-loras", text, evidence)


def _strength(routing: Routing) -> Iterator[Advice]:
    for lora in routing.routed:
        purpose = purpose_of(lora.weights)
        usual = USUAL_STRENGTHS[purpose]
        made_for_22 = (lora.weights.base or "").startswith("wan2.2")
        if purpose == "speed" and lora.expert == "high_noise" and not made_for_22 and not lora.weights.expert:
            usual = TURNED_UP_SPEED
        peak = lora.peak
        if peak == 0:
            yield Advice(lora.name, "zero-strength", f"strength 0 on {lora.expert}: it does nothing", "", "note")
        elif not usual.lowest <= abs(peak) <= usual.highest or (peak < 0 and purpose == "speed"):
            article = f"a {purpose} LoRA is" if purpose else "LoRAs are"
            usually = f"usually used from {usual.lowest:g} to {usual.highest:g}"
            yield Advice(
                lora.name, "strength", f"strength {peak:g} on {lora.expert}; {article} {usually}", usual.evidence
            )


def _other_base(routing: Routing) -> Iterator[Advice]:
    model = routing.spec.name
    for entry in routing.enabled:
        base = (entry.weights.base if entry.weights else None) or ""
        if base.startswith("wan2.1") and model.startswith("wan2.2"):
            text = f"made for Wan 2.1 ({base}); on {routing.spec.title} it fits the low-noise expert best"
            evidence = "diffusion-pipe#332 and #372: 2.1 LoRAs work, the low expert being nearest to 2.1"
            yield Advice(entry.name, "wan21-on-wan22", text, evidence)
        elif base.startswith("wan2.2") and model.startswith("wan2.1"):
            text = f"made for Wan 2.2 ({base}); {routing.spec.title} is another network of the same shapes"
            yield Advice(entry.name, "wan22-on-wan21", text, _WAN_EXPERTS)
        elif (made := _task(base)) and (wanted := _task(model)) and made != wanted and "ti2v" not in base + model:
            text = f"made for {made.upper()} ({base}), used on {routing.spec.title}"
            yield Advice(entry.name, "other-task", text, "text and image models are trained apart", "note")


def _task(name: str) -> str:
    return next((task for task in ("t2v", "i2v") if f"-{task}-" in name), "")


def _same_file(routing: Routing) -> Iterator[Advice]:
    for expert in EXPERTS:
        users = defaultdict(list)
        for lora in routing.on(expert):
            if lora.weights.path is not None:
                users[lora.weights.path.resolve()].append(lora)
        for path, loras in users.items():
            if len(loras) > 1:
                names, total = " and ".join(lora.name for lora in loras), sum(lora.strength for lora in loras)
                text = f"{names} are the same file {path.name}: on the {expert} expert it acts with {total:g} in all"
                yield Advice(loras[0].name, "same-file-twice", text, "strengths of one file add")


def _filter(routing: Routing) -> Iterator[Advice]:
    for index, entry in enumerate(routing.stack):
        if entry.enabled and entry.target_filter is not None:
            targets = {target for half in _files(entry) for target in half.for_expert("high_noise")}
            targets |= {target for half in _files(entry) for target in half.for_expert("low_noise")}
            for rule in entry.target_filter.rules:
                if not any(rule.matches(target) for target in targets):
                    text = f"the filter rule {rule} matches none of its {len(targets)} targets"
                    yield Advice(entry.name, "filter-matches-nothing", text, "the file's own targets")
            if not any(lora.index == index for lora in routing.routed):
                text = f"the filter {entry.target_filter} leaves nothing of it, so it does nothing"
                yield Advice(entry.name, "filter-leaves-nothing", text, "the file's own targets")


def _files(entry: LoraEntry) -> list[LoraWeights]:
    return [weights for weights in (entry.weights, entry.low_noise_weights) if weights is not None]


def _absent_targets(routing: Routing) -> Iterator[Advice]:
    for lora in routing.routed:
        reasons = [routing.spec.why_absent(target) for target in lora.weights.for_expert(lora.made_for)]
        absent = [reason for reason in reasons if reason is not None]
        if absent:
            text = f"{len(absent)} of its {len(reasons)} targets do not apply: the first {absent[0]}"
            yield Advice(lora.name, "not-applicable", text, f"the module list of {routing.spec.title}", "note")


def _file_notes(routing: Routing) -> Iterator[Advice]:
    for entry in routing.enabled:
        for weights in _files(entry):
            for note in weights.notes:
                yield Advice(entry.name, "file", note, str(weights.path or weights.name), "note")


STACK_RULES: tuple[Callable[[Routing], Iterator[Advice]], ...] = (
    _wrong_slot,
    _speed_on_one_expert,
    _two_speeds,
    _many,
    _strength,
    _other_base,
    _same_file,
    _filter,
    _unused_strength,
    _single_expert,
    _no_hint,
    _twins,
    _absent_targets,
    _file_notes,
)
