"""The log of a run: one row a step, as JSON lines and as CSV, whole after any crash and cut where a run is resumed.

The JSON lines are the log; the CSV is the same for spreadsheets, made anew from them when the log is opened.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..atomic import replacing_all
from ..checks import first_line, known, known_keys, whole_number
from ..errors import OutputError, TrainingError
from ..experts import EXPERTS, Expert

JSON_NAME, CSV_NAME = "log.jsonl", "log.csv"


class AnyRow(Protocol):
    """A dataclass of numbers that are logged of a step; those with a default may be missing in a file."""

    @property
    def step(self) -> int:
        """Of the run, from 1; 0 for what was measured before the first."""

    @property
    def loss(self) -> float | None:
        """NaN where it was not finite, None where nothing was trained."""

    @property
    def learning_rate(self) -> float | None:
        """What the step was taken with."""


Row = TypeVar("Row", bound=AnyRow)


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """What one step of the optimiser did.

    Attributes:
        step: of the run, from 1; 0 for what was measured before the first.
        expert: which one it trained.
        loss: the mean over its batches; NaN where it was not finite, None where nothing was trained.
        learning_rate: what it was taken with.
        gradient_norm: of all weights that learn, before clipping.
        held_out_high_noise, held_out_low_noise: the loss on the clips kept for validation, where it was taken.
        seconds: how long the step took.
        memory_bytes: the most that was in use on the device, or by the process on the CPU.
    """

    step: int
    expert: Expert
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    held_out_high_noise: float | None = None
    held_out_low_noise: float | None = None
    seconds: float | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        whole_number(self.step, "step", TrainingError, low=0)
        known(self.expert, EXPERTS, "expert", TrainingError)

    def held_out(self, expert: Expert) -> float | None:
        """Return the loss of an expert on the clips kept for validation, None where it was not taken."""
        return self.held_out_high_noise if expert == "high_noise" else self.held_out_low_noise

    def entries(self) -> dict[str, str | int | float | None]:
        """Return the row as it is written."""
        return entries_of(self)


def entries_of(row: AnyRow) -> dict[str, str | int | float | None]:
    """Return a row as it is written: numbers that are not finite are None."""
    told = asdict(row)  # type: ignore[call-overload]  # a dataclass
    return {key: None if _is_wild(value) else value for key, value in told.items()}


def columns_of(kind: type) -> tuple[str, ...]:
    """Return what the columns of a log of such rows are called."""
    return tuple(field.name for field in fields(kind))


COLUMNS = columns_of(LogRow)


class RowLog(Generic[Row]):
    """The log in a run's folder, to which rows are added, all of one kind.

    A last line that a crash left half-written is dropped when the log is opened. One that does not write knows what
    is in the log of a process that trains beside this one, for it is told the same.
    """

    def __init__(self, folder: str | Path, kind: type[Row], *, writes: bool = True) -> None:
        self.folder = Path(folder)
        self._kind, self._writes = kind, writes
        self._rows = list(read_row_log(self.folder, kind))
        self._rewrite()

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, those of earlier sessions too."""
        return tuple(self._rows)

    @property
    def last_step(self) -> int:
        """The step of the last row; 0 for an empty log."""
        return self._rows[-1].step if self._rows else 0

    def append(self, row: Row) -> None:
        """Add the row of the next step; it is with the system when this returns, whatever becomes of the program."""
        if self._rows and row.step <= self.last_step:
            what = f"step {row.step} is logged behind step {self.last_step}"
            raise TrainingError(self._paths[0], what, remedy="Truncate the log to the step to go on from")
        if self._writes:
            for path, line in zip(self._paths, (_json_line(row), _csv_line(row)), strict=True):
                _append(path, line)
        self._rows.append(row)

    def truncate_after(self, step: int) -> None:
        """Drop the rows of later steps, which a run that is resumed from `step` will take again."""
        kept = [row for row in self._rows if row.step <= step]
        if len(kept) < len(self._rows):
            self._rows = kept
            self._rewrite()

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self.folder / JSON_NAME, self.folder / CSV_NAME

    def _rewrite(self) -> None:
        """Write both files from the rows, where they are not so already."""
        if not self._writes:
            return
        header = _csv_text(list(columns_of(self._kind)))
        wanted = (b"".join(map(_json_line, self._rows)), header + b"".join(map(_csv_line, self._rows)))
        if any(_content(path) != content for path, content in zip(self._paths, wanted, strict=True)):
            with replacing_all(self._paths) as new:
                for file, content in zip(new, wanted, strict=True):
                    file.write_bytes(content)


class RunLog(RowLog[LogRow]):
    """The log of a training of LoRAs for videos."""

    def __init__(self, folder: str | Path, *, writes: bool = True) -> None:
        super().__init__(folder, LogRow, writes=writes)


def read_log(folder: str | Path) -> tuple[LogRow, ...]:
    """Read the rows of a run's log; without one there are none, and a half-written last line is none."""
    return read_row_log(folder, LogRow)


def read_row_log(folder: str | Path, kind: type[Row]) -> tuple[Row, ...]:
    """Read the rows of a log, all of one kind, as `read_log` does."""
    path = Path(folder) / JSON_NAME
    *whole, _ = (_content(path) or b"").split(b"\n")  # what stands behind the last line break was cut short
    rows: list[Row] = []
    for number, line in enumerate(whole, start=1):
        row = _row(line, f"{path} line {number}", kind)
        if rows and row.step <= rows[-1].step:
            raise _damaged(f"{path} line {number}", f"step {row.step} stands behind step {rows[-1].step}")
        rows.append(row)
    return tuple(rows)


def _row(line: bytes, where: str, kind: type[Row]) -> Row:
    try:
        entries = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(where, f"is no JSON: {first_line(error)}") from error
    if not isinstance(entries, dict) or not isinstance(entries.get("step"), int):
        raise _damaged(where, "is no row of a log")
    columns = columns_of(kind)
    known_keys(entries, columns, where, TrainingError)
    always = ("expert", "loss", "learning_rate")
    if missing := [key for key in always if key in columns and key not in entries]:
        raise _damaged(where, f"has no {missing[0]}")
    if entries["loss"] is None and entries["learning_rate"] is not None:
        entries["loss"] = math.nan
    return kind(**entries)


def _append(path: Path, line: bytes) -> None:
    try:
        with path.open("ab", buffering=0) as file:
            if file.write(line) < len(line):  # what had room is there, and is dropped when the log is opened next
                raise OSError("the disk is full")
    except OSError as error:
        remedy = "Free space, then resume the run"
        raise OutputError(path, f"cannot be written: {error}", remedy=remedy) from error


def _damaged(where: str, what: str) -> TrainingError:
    return TrainingError(where, what, remedy="Remove the line and those behind it, or move the log away")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(path, f"cannot be read: {error}", remedy="Choose another folder") from error


def _json_line(row: AnyRow) -> bytes:
    return json.dumps(entries_of(row), allow_nan=False).encode() + b"\n"


def _csv_text(cells: list[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _csv_line(row: AnyRow) -> bytes:
    return _csv_text(["" if value is None else value for value in entries_of(row).values()])


def _is_wild(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
