"""The field's rules about a stack on a model, one function each, in a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..experts import EXPERTS
from ..families.family import UsualStrength
from ..files.purpose import Purpose
from ..stack.loaded import LoadedStack
from ..wording import expert_named, joined, said
from .advice import Advice
from .case import Case
from .expert_rules import EXPERT_RULES
from .length import length_of
from .place_rules import speed_in_a_part, without_place
from .route import RoutedLora

#: What a LoRA is for, as it stands in a sentence.
_PURPOSES: Mapping[Purpose, str] = {
    "speed": said("speed"),
    "style": said("style"),
    "character": said("character"),
    "motion": said("motion"),
    "quality": said("quality"),
    "length": said("length"),
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
    "length": UsualStrength(0.5, 1.2, "LoRAs for a length are trained at strength 1"),
    "": UsualStrength(0.0, 2.0, "LoRAs are trained at strength 1"),
}

#: The field's guides stop here; every LoRA was trained as if it were alone.
MANY_LORAS = 4


def advise_on_stack(loaded: LoadedStack, routed: Sequence[RoutedLora]) -> tuple[Advice, ...]:
    """Apply every rule to a loaded stack and what of it acts."""
    case = Case(loaded, tuple(routed))
    return tuple(dict.fromkeys(advice for rule in STACK_RULES for advice in rule(case)))


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
                "{names} are speed LoRAs of together {total}. Keep one, or blend them"
                if case.spec.num_experts == 1
                else "{names} are speed LoRAs of together {total} on the {expert} expert. Keep one, or blend them",
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
                "{count} LoRAs of together {total} act; they may blur each other. Turn some off, or lower them"
                if case.spec.num_experts == 1
                else "{count} LoRAs of together {total} act on the {expert} expert; they may blur each other. "
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
                "strength 0: it does nothing. Raise it, or turn the row off"
                if case.spec.num_experts == 1
                else "strength 0 on {expert}: it does nothing. Raise it, or turn the row off",
                expert=expert_named(lora.expert),
            )
            yield Advice(lora.name, "zero-strength", text, "", "note")
        elif not usual.lowest <= abs(peak) <= usual.highest or (peak < 0 and purpose == "speed"):
            one, known = case.spec.num_experts == 1, bool(purpose)
            text = said(
                "strength {strength}; a {purpose} LoRA is usually used from {lowest} to {highest}. "
                "Come nearer if the result suffers"
                if one and known
                else "strength {strength}; LoRAs are usually used from {lowest} to {highest}. "
                "Come nearer if the result suffers"
                if one
                else "strength {strength} on {expert}; a {purpose} LoRA is usually used from {lowest} to {highest}. "
                "Come nearer if the video suffers"
                if known
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
                    "{names} are the same file {file}: it acts with {total} in all. Keep one of the rows"
                    if case.spec.num_experts == 1
                    else "{names} are the same file {file}: on the {expert} expert it acts with {total} in all. "
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


def _for_length(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        if (told := length_of(lora)) is not None and case.of(lora):
            text = said(
                "made for clips of {long} frames, with radial attention. Set that length, and add radial attention",
                long=told.num_frames,
            )
            yield Advice(lora.name, "for-length", text, "the file's metadata", "note")


def _file_notes(case: Case) -> Iterator[Advice]:
    for lora in case.loaded.loras:
        for weights in lora.files:
            for note in weights.notes:
                yield Advice(lora.name, "file", note, str(weights.path or weights.name), "note")


STACK_RULES: tuple[Callable[[Case], Iterator[Advice]], ...] = (
    *EXPERT_RULES,
    _speed_on_one_expert,
    _two_speeds,
    _many,
    _strength,
    _other_base,
    _same_file,
    _filter,
    _absent_targets,
    _left_out,
    _for_length,
    without_place,
    speed_in_a_part,
    _file_notes,
)
