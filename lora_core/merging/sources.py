"""The LoRAs that go into a merge, on which expert each of them acts, and what of a row no file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import StackError
from ..experts import EXPERTS, Expert
from ..files.purpose import KIND_KEY
from ..files.weights import LoraWeights, outlines_of
from ..plan.route import RoutedLora
from ..plan.routing import route
from ..stack.hashes import sha256_of
from ..stack.loaded import LoadedStack
from ..wording import said
from .half import Addend


@dataclass(frozen=True)
class Source:
    """One LoRA of a merged file: its file, what that hashes to, and how strongly it was taken."""

    name: str
    file: str | None
    sha256: str | None
    strength: float
    targets: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, without what is not there."""
        return {key: value for key, value in vars(self).items() if value is not None}


def acting(loaded: LoadedStack) -> dict[Expert | None, tuple[RoutedLora, ...]]:
    """Return what acts on each expert; None stands for both, where the same acts on the two, and for a single one."""
    routed = route(loaded, loaded.spec)
    on = {expert: _with_strength(routed.for_expert(expert)) for expert in EXPERTS}
    if loaded.spec.num_experts == 1 or _are_alike(*on.values()):
        return {None: on["low_noise"]} if on["low_noise"] else {}
    return {expert: loras for expert, loras in on.items() if loras}


def addends(loras: Sequence[RoutedLora]) -> list[Addend]:
    """Return the LoRAs of one expert as they are added, their strengths in the factors."""
    return [
        Addend(lora.name, lora.deltas, {target: lora.strength * own for target, own in lora.factors.items()})
        for lora in loras
    ]


def sources(loaded: LoadedStack, loras: Sequence[RoutedLora]) -> tuple[Source, ...]:
    """Return what the metadata shall tell of the LoRAs of one expert."""
    return tuple(_source(loaded, lora) for lora in loras)


def not_held(loaded: LoadedStack, *, refuse: bool) -> Iterator[str]:
    """Say what of the rows a file cannot hold, or refuse them; a row that acts in a part of the clip always."""
    for lora in loaded.loras:
        entry, where = lora.entry, f"LoRA {lora.name!r}"
        if entry.is_masked:
            place = (
                said("time {time}", time=str(entry.over_time))
                if entry.region is None
                else said("region {region}", region=entry.region.shown)
            )
            what = said("no file can hold the {place}, where it acts", place=place)
            raise StackError(where, what, remedy="Take its region and time away, and it is merged for the whole clip")
        if entry.schedule is None:
            continue
        what = said("no file can hold the schedule {schedule}", schedule=str(entry.schedule))
        if refuse:
            raise StackError(where, what, remedy="Take it away, or let its strength stand for it")
        yield said(
            "note: {name}: {what}; merged at {strength} throughout",
            name=lora.name,
            what=what,
            strength=f"{entry.strength:g}",
        )
    for entry in loaded.stack:
        if not entry.enabled:
            yield said("note: {name} is off and left out", name=entry.name)


def left_out(files: Iterable[LoraWeights]) -> Iterator[str]:
    """Say which tensors of files are in no merged one, such as those of a text encoder."""
    for weights in files:
        for status, reason, count, first in weights.account.reasons():
            if status != "zero":
                yield said(
                    "note: {name}: {count} of its {all} tensors are left out, the first being {first}: {reason}",
                    name=weights.name,
                    count=count,
                    all=len(weights.account),
                    first=first,
                    reason=reason,
                )


def _with_strength(loras: Sequence[RoutedLora]) -> tuple[RoutedLora, ...]:
    return tuple(lora for lora in loras if lora.strength != 0)


def _are_alike(high: Sequence[RoutedLora], low: Sequence[RoutedLora]) -> bool:
    """Say whether the two experts get the same changes at the same strengths, so that one file serves both.

    What depends on the base becomes another change on each of the two bases.
    """
    pairs = zip(high, low, strict=False)
    return len(high) == len(low) and all(
        one.weights is other.weights
        and one.weights.low_noise_deltas is None
        and not any(delta.needs_base for delta in outlines_of(one.deltas).values())
        and (one.index, one.strength, one.factors) == (other.index, other.strength, other.factors)
        for one, other in pairs
    )


def _source(loaded: LoadedStack, lora: RoutedLora) -> Source:
    entry, path = loaded.stack.entries[lora.index], lora.weights.path
    chosen = None if entry.target_filter is None else str(entry.target_filter)
    known = path is not None and path.is_file()
    return Source(
        lora.name, path.name if path else None, sha256_of(path) if known and path else None, lora.strength, chosen
    )


def words_of(files: Sequence[LoraWeights]) -> Mapping[str, str]:
    """Return the metadata that a merged file takes over: all trigger words, and the purpose if one is told.

    A file with a speed LoRA in it is one; of the others all must have the same purpose.
    """
    words = dict.fromkeys(word for weights in files for word in weights.trigger_words)
    purposes = {weights.purpose for weights in files}
    purpose = "speed" if "speed" in purposes else purposes.pop() if len(purposes) == 1 else ""
    told = {"trigger_words": ", ".join(words), KIND_KEY: purpose}
    return {key: value for key, value in told.items() if value}
