"""The report on a stack: one row per LoRA, with its file, where it acts and what became of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..experts import Expert
from ..files.account import counted_status
from ..files.weights import LoraWeights
from ..stack.entry import LoraEntry
from ..stack.loaded import LoadedLora, LoadedStack
from ..wording import Said, expert_named, joined, said
from .route import Route, RoutedLora

#: The rules of advice that say what the rows of a report say too.
SAID_BY_ROWS = frozenset({"twin-found", "not-applicable-tensors", "left-out"})


@dataclass(frozen=True)
class FileReport:
    """What became of one file of a row.

    Attributes:
        experts: expert -> the row's strength there; empty where nothing of the file acts.
        ranks: the distinct ranks of its low-rank changes.
        base: the published model it looks made for, or None.
        summary: how many tensors were applied, not applicable, unmatched.
        reasons: why those that were not applied were not.
        is_single: the model has one expert, whose name says nothing.
    """

    file: str
    experts: dict[Expert, float]
    ranks: tuple[int, ...]
    base: str | None
    dialect: str
    summary: str
    reasons: tuple[str, ...]
    is_single: bool = False

    def text(self) -> Said:
        on = [self._strength_on(expert, f"{strength:g}") for expert, strength in self.experts.items()]
        ranks = said("rank {ranks}", ranks="/".join(map(str, self.ranks))) if self.ranks else said("no rank")
        made_for = said(", made for {base}", base=self.base) if self.base else ""
        acts = joined(", ", on) if on else said("acts nowhere")
        line = joined("", [self.file, ": ", acts, "; ", ranks, made_for, "; ", self.summary])
        return joined("\n    ", [line, *self.reasons])

    def _strength_on(self, expert: Expert, strength: str) -> Said:
        if self.is_single:
            return said("strength {strength}", strength=strength)
        return joined(" ", [expert_named(expert), strength])


@dataclass(frozen=True)
class RowReport:
    """What became of one row of a stack; without files it is switched off."""

    name: str
    enabled: bool
    schedule: str | None
    targets: str | None
    found_twin: bool
    trigger_words: tuple[str, ...]
    files: tuple[FileReport, ...] = ()
    region: str | None = None
    time: str | None = None

    def text(self) -> Said:
        if not self.enabled:
            return said("{name}: off", name=self.name)
        parts = [
            self.name,
            said(", schedule {schedule}", schedule=self.schedule) if self.schedule else "",
            said(", targets {targets}", targets=self.targets) if self.targets else "",
            said(", region {region}", region=self.region) if self.region else "",
            said(", time {time}", time=self.time) if self.time else "",
            said(", twin found") if self.found_twin else "",
            said(", say: {words}", words=", ".join(self.trigger_words)) if self.trigger_words else "",
        ]
        return joined("\n  ", [joined("", filter(None, parts)), *(file.text() for file in self.files)])

    def to_dict(self) -> dict[str, object]:
        """Return plain data; of a row that acts on the whole clip, nothing of a region and a time."""
        return {key: value for key, value in asdict(self).items() if key not in ("region", "time") or value is not None}


@dataclass(frozen=True)
class StackReport:
    """The reports of all rows, and what was noticed about the whole."""

    rows: tuple[RowReport, ...]
    advice: tuple[str, ...] = ()

    def text(self) -> Said:
        lines = [*(row.text() for row in self.rows), *self.advice]
        return joined("\n", lines) if lines else said("no LoRAs")


def report_on_stack(loaded: LoadedStack, route: Route) -> StackReport:
    """Report on a loaded stack and the route made of it."""
    one = loaded.spec.num_experts == 1
    rows = tuple(_row_report(entry, loaded.find(entry.name), route, is_single=one) for entry in loaded.stack)
    told = tuple(advice.told() for advice in route.advice if advice.rule not in SAID_BY_ROWS)
    return StackReport(rows, told)


def _row_report(entry: LoraEntry, lora: LoadedLora | None, route: Route, *, is_single: bool) -> RowReport:
    routed = [] if lora is None else [acting for acting in route.all if acting.index == lora.index]
    return RowReport(
        name=entry.name,
        enabled=entry.enabled,
        schedule=None if entry.schedule is None else str(entry.schedule),
        targets=None if entry.target_filter is None else str(entry.target_filter),
        region=None if entry.region is None else entry.region.shown,
        time=None if entry.over_time is None else str(entry.over_time),
        found_twin=entry.found_twin,
        trigger_words=() if lora is None else lora.trigger_words,
        files=()
        if lora is None
        else tuple(_file_report(weights, routed, is_single=is_single) for weights in lora.files),
    )


def _file_report(weights: LoraWeights, routed: Sequence[RoutedLora], *, is_single: bool) -> FileReport:
    experts: dict[Expert, float] = {lora.expert: lora.strength for lora in routed if lora.weights is weights}
    return FileReport(
        file=weights.path.name if weights.path else weights.name,
        experts=experts,
        ranks=weights.ranks,
        base=weights.base,
        dialect=weights.dialect,
        summary=weights.account.summary(is_used=bool(experts)),
        reasons=tuple(
            said(
                "{counted}: {reason} (first: {first})",
                counted=counted_status(status, count),
                reason=reason,
                first=first,
            )
            for status, reason, count, first in weights.account.reasons()
        ),
        is_single=is_single,
    )
