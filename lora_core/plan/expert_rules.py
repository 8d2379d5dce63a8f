"""The rules about which file is for which expert, one function each, in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..experts import EXPERTS
from ..experts.twins import how_found, twin_names
from ..families.base import ModelSpec
from ..stack.loaded import LoadedLora
from ..stack.stack import LoraStack
from ..wording import joined, said
from .advice import Advice
from .case import Case


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


EXPERT_RULES: tuple[Callable[[Case], Iterator[Advice]], ...] = (
    _wrong_slot,
    _unused_strength,
    _single_expert,
    _no_hint,
    _twins,
)
