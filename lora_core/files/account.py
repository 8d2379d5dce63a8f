"""The account of a LoRA file: one record for every tensor in it, saying what became of it and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ..checks import shape_text
from ..wording import Said, joined, said

Status = Literal["applied", "zero", "not_applicable", "unmatched", "wrong_shape"]
STATUSES: tuple[Status, ...] = get_args(Status)

#: How a status is called in a sentence, behind a count.
_COUNTED: Mapping[Status, Said] = {
    "applied": said("applied"),
    "zero": said("zero"),
    "not_applicable": said("not applicable"),
    "unmatched": said("unmatched"),
    "wrong_shape": said("wrong shape"),
}
#: How it is called in a table of tensors.
_WORDS = {status: status.replace("_", " ") for status in STATUSES}


def counted_status(status: Status, count: int, *, is_used: bool = True) -> Said:
    """Return how many tensors have a status, as in a report."""
    if status == "applied" and not is_used:
        return joined(" ", [str(count), said("fit, and none is used")])
    return joined(" ", [str(count), _COUNTED[status]])


@dataclass(frozen=True)
class TensorRecord:
    """What became of one tensor.

    Attributes:
        status: "applied"; "zero" (it fits, and changes nothing); "not_applicable" (this model rightly lacks its
            target); "unmatched"; "wrong_shape".
        target: the canonical target, or None when there is none.
        reason: why the status is not "applied".
        nearest: the target that an unmatched name is most like.
    """

    name: str
    status: Status
    target: str | None
    shape: tuple[int, ...]
    dtype: str
    reason: str = ""
    nearest: str | None = None


@dataclass(frozen=True)
class Account:
    """The records of all tensors of a file, in the file's order."""

    records: tuple[TensorRecord, ...] = ()

    def __iter__(self) -> Iterator[TensorRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def count(self, status: Status) -> int:
        return self.counts()[status]

    def counts(self) -> dict[Status, int]:
        tally = Counter(record.status for record in self.records)
        return {status: tally[status] for status in STATUSES}

    def summary(self, *, is_used: bool = True) -> Said:
        """Return one line: `480 tensors: 400 applied, 80 not applicable`; of a file that acts nowhere, "fit"."""
        parts = [counted_status(status, count, is_used=is_used) for status, count in self.counts().items() if count]
        return said(
            "{count} tensor: {parts}" if len(self) == 1 else "{count} tensors: {parts}",
            count=len(self),
            parts=joined(", ", parts) if parts else said("none"),
        )

    def reasons(self) -> list[tuple[Status, str, int, str]]:
        """Return (status, reason, how many, the first name) for everything that was not simply applied."""
        groups: dict[tuple[Status, str], list[str]] = {}
        for record in self.records:
            if record.status != "applied":
                groups.setdefault((record.status, record.reason), []).append(record.name)
        return [(status, reason, len(names), names[0]) for (status, reason), names in groups.items()]

    def table(self, *, every: bool = False) -> Said:
        """Return the account as text: the summary, then the reasons; with `every`, one line for every tensor."""
        lines: list[str] = [self.summary()]
        for status, reason, count, first in self.reasons():
            room = f"  {'':{max(0, 5 - len(str(count)))}}"
            what = {"counted": counted_status(status, count), "reason": reason, "first": first}
            lines.append(joined("", [room, said("{counted}: {reason} (first: {first})", **what)]))
        if every:
            lines.extend(self._line(record) for record in self.records)
        return joined("\n", lines)

    @staticmethod
    def _line(record: TensorRecord) -> str:
        size = shape_text(record.shape, empty="1")
        nearest = f" (nearest {record.nearest})" if record.nearest else ""
        reason = f": {record.reason}" if record.reason else ""
        return f"  {_WORDS[record.status]:14} {record.name} [{size} {record.dtype}] -> {record.target}{reason}{nearest}"
