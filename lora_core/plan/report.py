"""The report on a stack: one row per LoRA, with its file, where it acts and what became of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..files.weights import LoraWeights
from ..stack.entry import LoraEntry
from ..stack.loaded import LoadedLora, LoadedStack
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
    """

    file: str
    experts: dict[str, float]
    ranks: tuple[int, ...]
    base: str | None
    dialect: str
    summary: str
    reasons: tuple[str, ...]

    def text(self) -> str:
        on = ", ".join(f"{expert} {strength:g}" for expert, strength in self.experts.items()) or "acts nowhere"
        ranks = f"rank {'/'.join(map(str, self.ranks))}" if self.ranks else "no rank"
        made_for = f", made for {self.base}" if self.base else ""
        lines = [f"{self.file}: {on}; {ranks}{made_for}; {self.summary}"]
        return "\n    ".join([*lines, *self.reasons])


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

    def text(self) -> str:
        if not self.enabled:
            return f"{self.name}: off"
        schedule = f", schedule {self.schedule}" if self.schedule else ""
        targets = f", targets {self.targets}" if self.targets else ""
        words = f", say: {', '.join(self.trigger_words)}" if self.trigger_words else ""
        twin = ", twin found" if self.found_twin else ""
        return "\n  ".join([f"{self.name}{schedule}{targets}{twin}{words}", *(file.text() for file in self.files)])

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True)
class StackReport:
    """The reports of all rows, and what was noticed about the whole."""

    rows: tuple[RowReport, ...]
    advice: tuple[str, ...] = ()

    def text(self) -> str:
        lines = [*(row.text() for row in self.rows), *self.advice]
        return "\n".join(lines) or "no LoRAs"


def report_on_stack(loaded: LoadedStack, route: Route) -> StackReport:
    """Report on a loaded stack and the route made of it."""
    rows = tuple(_row_report(entry, loaded.find(entry.name), route) for entry in loaded.stack)
    told = tuple(str(advice) for advice in route.advice if advice.rule not in SAID_BY_ROWS)
    return StackReport(rows, told)


def _row_report(entry: LoraEntry, lora: LoadedLora | None, route: Route) -> RowReport:
    routed = [] if lora is None else [acting for acting in route.all if acting.index == lora.index]
    return RowReport(
        name=entry.name,
        enabled=entry.enabled,
        schedule=None if entry.schedule is None else str(entry.schedule),
        targets=None if entry.target_filter is None else str(entry.target_filter),
        found_twin=entry.found_twin,
        trigger_words=() if lora is None else lora.trigger_words,
        files=() if lora is None else tuple(_file_report(weights, routed) for weights in lora.files),
    )


def _file_report(weights: LoraWeights, routed: Sequence[RoutedLora]) -> FileReport:
    experts: dict[str, float] = {lora.expert: lora.strength for lora in routed if lora.weights is weights}
    summary = weights.account.summary()
    return FileReport(
        file=weights.path.name if weights.path else weights.name,
        experts=experts,
        ranks=weights.ranks,
        base=weights.base,
        dialect=weights.dialect,
        summary=summary if experts else summary.replace("applied", "fit, and none is used"),
        reasons=tuple(
            f"{count} {status.replace('_', ' ')}: {reason} (first: {first})"
            for status, reason, count, first in weights.account.reasons()
        ),
    )
