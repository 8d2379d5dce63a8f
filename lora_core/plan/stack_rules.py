"""The field's rules about a stack on a model, one function each, in a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..experts import EXPERTS, Expert
from ..experts.twins import how_found, twin_names
from ..families.base import ModelSpec
from ..families.family import Customs, UsualStrength
from ..families.registry import customs_of
from ..files.purpose import Purpose
from ..stack.loaded import LoadedLora, LoadedStack
from ..stack.stack import LoraStack
from ..wording import expert_named, joined, said
from .advice import Advice
from .route import RoutedLora

#: What a LoRA is for, as it stands in a sentence.
_PURPOSES: Mapping[Purpose, str] = {
    "speed": said("speed"),
    "style": said("style"),
    "character": said("character"),
    "motion": said("motion"),
    "quality": said("quality"),
    "": "",
}

_GUIDES = "published guides: character 0.8 to 1, concept and motion 0.6 to 0.8, style 0.3 to 0.8, detail 0.3 to 0.6"

#: Purpose -> the strengths in use, with some room on both sides; "" where the purpose is not known.
USUAL_STRENGTHS: Mapping[Purpose, UsualStrength] = {
    "speed": UsualStrength(0.5, 1.5, "distilled LoRAs are trained at strength 1"),
    "style": UsualStrength(0.3, 1.2, _GUIDES),
    "character": UsualStrength(0.5, 1.2, _GUIDES),
    "motion": UsualStrength(0.4, 1.2, _GUIDES),
    "quality": UsualStrength(0.2, 1.0, _GUIDES),
    "": UsualStrength(0.0, 2.0, "LoRAs are trained at strength 1"),
}

#: The field's guides stop here; every LoRA was trained as if it were alone.
MANY_LORAS = 4


@dataclass(frozen=True)
class Case:
    """What the rules look at: a loaded stack, and what of it acts where."""

    loaded: LoadedStack
    routed: tuple[RoutedLora, ...]

    @property
    def spec(self) -> ModelSpec:
        return self.loaded.spec

    @cached_property
    def customs(self) -> Customs:
        return customs_of(self.spec)

    @cached_property
    def speed(self) -> tuple[RoutedLora, ...]:
        return tuple(lora for lora in self.routed if lora.weights.purpose == "speed" and lora.strength)

    def on(self, expert: Expert) -> list[RoutedLora]:
        return [lora for lora in self.routed if lora.expert == expert]

    def of(self, lora: LoadedLora) -> list[RoutedLora]:
        return [routed for routed in self.routed if routed.index == lora.index]


def advise_on_stack(loaded: LoadedStack, routed: Sequence[RoutedLora]) -> tuple[Advice, ...]:
    """Apply every rule to a loaded stack and what of it acts."""
    case = Case(loaded, tuple(routed))
    return tuple(dict.fromkeys(advice for rule in STACK_RULES for advice in rule(case)))


def _twins(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        entry = lora.entry
        if entry.path and entry.found_twin and entry.low_noise_path:
            place = how_found(entry.path, entry.low_noise_path)
            rule = "twin-found" if place == "beside it" else "twin-elsewhere"
            text = said(
                "its low-noise twin {file} was found {place} and acts on the low-noise expert",
                file=entry.low_noise_path.name,
                place=place,
            )
            yield Advice(entry.name, rule, text, "names that differ in high and low alone", "note")
        elif _left_alone(lora, case.spec) and (why := _why_alone(lora, case.loaded.stack)):
            text = said(
                "it acts on the low-noise expert only: {why}"
                if lora.expert == "low_noise"
                else "it acts on the high-noise expert only: {why}",
                why=why,
            )
            yield Advice(entry.name, "no-twin", text, f"LoRAs for {case.spec.title} come as pairs", "note")


def _why_alone(lora: LoadedLora, stack: LoraStack) -> str:
    """Say why a file of one expert has no twin, "" where nothing is amiss."""
    entry, twin = lora.entry, lora.twin_left_out
    if lora.expert not in EXPERTS:
        return ""
    owner = next((row for row in stack if twin is not None and twin in (row.path, row.low_noise_path)), None)
    if owner is not None:
        return "" if owner.enabled else said("its twin {name} is off", name=owner.name)
    if lora.expert == "low_noise":
        if twin is None:
            return ""
        return said("its high-noise twin {file} does not act. Name that file, which brings this one", file=twin.name)
    if not entry.find_twin or entry.path is None:
        return said("the search for its twin is off. Name the low-noise file if there is one")
    names = ", ".join(twin_names(entry.path)) or said("no name: its own does not tell its expert")
    return said("no twin was found (looked for {names}). Name the low-noise file if there is one", names=names)


def _left_alone(lora: LoadedLora, spec: ModelSpec) -> bool:
    return spec.num_experts == 2 and lora.entry.applies_to == "auto" and lora.low_noise_weights is None


def _unused_strength(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        strength = lora.entry.low_noise_strength
        if strength is not None and not any(routed.made_for == "low_noise" for routed in case.of(lora)):
            text = said(
                "its low-noise strength {strength} is not used: nothing of it acts there. Clear it",
                strength=f"{strength:g}",
            )
            yield Advice(lora.name, "unused-low-strength", text, "what the file says of its expert")


def _no_hint(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        if lora.weights.expert is None and lora.expert is not None and _left_alone(lora, case.spec):
            text = said(
                "taken for the low_noise expert's by the row's name alone. Set applies_to if that is wrong"
                if lora.expert == "low_noise"
                else "taken for the high_noise expert's by the row's name alone. Set applies_to if that is wrong"
            )
            yield Advice(lora.name, "expert-by-row", text, "its file says nothing of its expert", "note")
        elif lora.expert is None and _left_alone(lora, case.spec):
            text = said("the file does not say which expert it is for, so it acts on both. Set applies_to if you know")
            yield Advice(lora.name, "no-expert-hint", text, "neither its name, metadata nor prefixes tell", "note")


def _wrong_slot(case: Case) -> Iterator[Advice]:
    if case.spec.num_experts == 1:
        return
    for lora in case.routed:
        hint = lora.weights.expert
        if hint in EXPERTS and hint != lora.expert:
            made, slot = hint.removesuffix("_noise"), lora.expert.removesuffix("_noise")
            source = joined("", [" (", lora.weights.expert_source, ")"]) if lora.weights.expert_source else ""
            text = said(
                "a high-noise file{source} acts on the low-noise expert. Use its low-noise file there"
                if made == "high"
                else "a low-noise file{source} acts on the high-noise expert. Use its high-noise file there",
                source=source,
            )
            evidence = f"{case.spec.title}'s experts were each trained on their own side of the boundary alone"
            yield Advice(lora.name, f"{made}-file-in-{slot}-slot", text, evidence)


def _single_expert(case: Case) -> Iterator[Advice]:
    if case.spec.num_experts == 2:
        return
    evidence = f"{case.spec.title} is one network for all noise levels"
    for lora in case.loaded.loras:
        for routed in case.of(lora):
            meant_high = routed.made_for == "high_noise" and routed.weights.expert == "high_noise"
            if lora.entry.applies_to == "high_noise" or meant_high:
                text = said(
                    "made for the high-noise expert, it acts on the model's only one, at all noise levels. "
                    "Look for a LoRA made for this model"
                )
                yield Advice(lora.name, "high-file-on-single-expert", text, evidence)
            elif lora.low_noise_weights is not None:
                text = said("of the pair only the low-noise file acts, since the model has one expert")
                yield Advice(lora.name, "half-of-pair", text, evidence, "note")


def _speed_on_one_expert(case: Case) -> Iterator[Advice]:
    if case.spec.num_experts == 1:
        return
    served = {lora.expert for lora in case.speed}
    for lora in case.speed:
        if len(served) == 1:
            (other,) = set(EXPERTS) - served
            text = said(
                "a speed LoRA acts on the {expert} expert and none on the {other} one, which then needs "
                "its usual cfg and many more steps. Add its file for that one",
                expert=expert_named(lora.expert),
                other=expert_named(other),
            )
            evidence = case.customs.evidence.get(
                "speed-on-one-expert", "both experts walk a part of the same few steps"
            )
            yield Advice(lora.name, "speed-on-one-expert", text, evidence)


def _two_speeds(case: Case) -> Iterator[Advice]:
    for expert in EXPERTS:
        loras = [lora for lora in case.speed if lora.expert == expert]
        total = sum(abs(lora.peak) for lora in loras)
        if len(loras) > 1 and total > USUAL_STRENGTHS["speed"].highest:
            text = said(
                "{names} are speed LoRAs of together {total} on the {expert} expert. Keep one, or blend them",
                names=joined(" and ", [lora.name for lora in loras]),
                total=f"{total:g}",
                expert=expert_named(expert),
            )
            yield Advice(None, "two-speed-loras", text, "each is distilled to do the whole shortening alone")


def _many(case: Case) -> Iterator[Advice]:
    for expert in EXPERTS:
        loras = case.on(expert)
        if len(loras) > MANY_LORAS:
            total = sum(abs(lora.peak) for lora in loras)
            text = said(
                "{count} LoRAs of together {total} act on the {expert} expert; they may blur each other. "
                "Turn some off, or lower them",
                count=len(loras),
                total=f"{total:g}",
                expert=expert_named(expert),
            )
            evidence = f"guides keep to {MANY_LORAS}: each was trained alone and their changes add up"
            yield Advice(None, "many-loras", text, evidence)


def _strength(case: Case) -> Iterator[Advice]:
    for lora in case.routed:
        purpose, peak = lora.weights.purpose, lora.peak
        usual = case.customs.strength(purpose, lora.weights, lora.expert) or USUAL_STRENGTHS[purpose]
        if peak == 0:
            text = said(
                "strength 0 on {expert}: it does nothing. Raise it, or turn the row off",
                expert=expert_named(lora.expert),
            )
            yield Advice(lora.name, "zero-strength", text, "", "note")
        elif not usual.lowest <= abs(peak) <= usual.highest or (peak < 0 and purpose == "speed"):
            text = said(
                "strength {strength} on {expert}; a {purpose} LoRA is usually used from {lowest} to {highest}. "
                "Come nearer if the video suffers"
                if purpose
                else "strength {strength} on {expert}; LoRAs are usually used from {lowest} to {highest}. "
                "Come nearer if the video suffers",
                strength=f"{peak:g}",
                expert=expert_named(lora.expert),
                purpose=_PURPOSES[purpose],
                lowest=f"{usual.lowest:g}",
                highest=f"{usual.highest:g}",
            )
            yield Advice(lora.name, "strength", text, usual.evidence)


def _other_base(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        remark = case.customs.on_base(lora.weights.base or "", case.spec)
        if remark is not None:
            yield Advice(lora.name, *remark)


def _same_file(case: Case) -> Iterator[Advice]:
    for expert in EXPERTS:
        users = defaultdict(list)
        for lora in case.on(expert):
            if lora.weights.path is not None:
                users[lora.weights.path.resolve()].append(lora)
        for path, loras in users.items():
            if len(loras) > 1:
                text = said(
                    "{names} are the same file {file}: on the {expert} expert it acts with {total} in all. "
                    "Keep one of the rows",
                    names=joined(" and ", [lora.name for lora in loras]),
                    file=path.name,
                    expert=expert_named(expert),
                    total=f"{sum(lora.strength for lora in loras):g}",
                )
                yield Advice(loras[0].name, "same-file-twice", text, "strengths of one file add")


def _filter(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        chosen = lora.entry.target_filter
        if chosen is None:
            continue
        targets = {target for half in lora.files for expert in EXPERTS for target in half.for_expert(expert)}
        for rule in chosen.rules:
            if not any(rule.matches(target, case.spec) for target in targets):
                text = said(
                    "the filter rule {rule} matches none of its {count} targets. Correct it or leave it out",
                    rule=str(rule),
                    count=len(targets),
                )
                yield Advice(lora.name, "filter-matches-nothing", text, "the file's own targets")
        if not case.of(lora):
            text = said("the filter {filter} leaves nothing of it, so it does nothing. Widen it", filter=str(chosen))
            yield Advice(lora.name, "filter-leaves-nothing", text, "the file's own targets")


def _absent_targets(case: Case) -> Iterator[Advice]:
    for lora in case.routed:
        reasons = [case.spec.why_absent(target) for target in lora.weights.for_expert(lora.made_for)]
        absent = [reason for reason in reasons if reason is not None]
        if absent:
            text = said(
                "{count} of its {all} targets do not apply: the first {reason}",
                count=len(absent),
                all=len(reasons),
                reason=absent[0],
            )
            yield Advice(lora.name, "not-applicable", text, f"the module list of {case.spec.title}", "note")


def _left_out(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        for weights in lora.files:
            for status, reason, count, first in weights.account.reasons():
                which: dict[str, str | int] = {
                    "count": count,
                    "all": len(weights.account),
                    "first": first,
                    "reason": reason,
                }
                if status == "not_applicable":
                    text = said("{count} of its {all} tensors do not apply, the first being {first}: {reason}", **which)
                    yield Advice(lora.name, "not-applicable-tensors", text, str(weights.path or weights.name), "note")
                elif status != "zero":
                    text = said(
                        "{count} of its {all} tensors were left out, the first being {first}: {reason}", **which
                    )
                    yield Advice(lora.name, "left-out", text, str(weights.path or weights.name))


def _file_notes(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        for weights in lora.files:
            for note in weights.notes:
                yield Advice(lora.name, "file", note, str(weights.path or weights.name), "note")


STACK_RULES: tuple[Callable[[Case], Iterator[Advice]], ...] = (
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
    _left_out,
    _file_notes,
)
