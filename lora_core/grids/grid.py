"""A grid: a request and a stack, and the axes along which clips of them differ."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from ..attention.wishes import RadialWishes
from ..checks import known, whole_number
from ..engine.request import GenerationRequest
from ..errors import RequestError, located
from ..jobs.item import MAX_SCALE
from ..stack.stack import LoraStack
from ..wording import said
from .axis import Axis
from .subject import Load, Subject

#: What a cell's clip may be written as; .mkv keeps every pixel as it is.
ENDINGS = (".mp4", ".mkv", ".gif", ".webp")


@dataclass(frozen=True, eq=False)
class Grid:
    """What is asked of a grid; axes may be in their text form.

    Attributes:
        request: what all cells have in common.
        stack: their LoRAs.
        columns: what differs from column to column.
        rows: what differs from row to row; None for one row.
        radial: how self-attention leaves pairs out, in every cell.
        ending: of the cells' files, one of `ENDINGS`.
        scale: enlarge every pixel of them; None so that small clips can be seen.
    """

    request: GenerationRequest
    stack: LoraStack
    columns: Axis
    rows: Axis | None = None
    radial: RadialWishes | None = None
    ending: str = ENDINGS[0]
    scale: int | None = None

    def __post_init__(self) -> None:
        for name in ("columns", "rows"):
            if isinstance(axis := getattr(self, name), str):
                object.__setattr__(self, name, Axis.parse(axis))
        known(self.ending, ENDINGS, "ending", RequestError)
        if self.scale is not None:
            whole_number(self.scale, "scale", RequestError, low=1, high=MAX_SCALE)
        if self.request.latents is not None:
            raise RequestError("latents", "a grid starts from noise", remedy="Leave them out")
        if self.rows is not None and _what(self.columns) & _what(self.rows):
            what = said("both axes are {title}", title=self.rows.title)
            raise RequestError("rows", what, expected="two that differ", remedy="Choose another axis")

    @property
    def axes(self) -> tuple[tuple[str, Axis], ...]:
        """The axes there are, from the inner one, each with its name."""
        return (("columns", self.columns), *(() if self.rows is None else (("rows", self.rows),)))

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns there are."""
        return (1 if self.rows is None else len(self.rows.values)), len(self.columns.values)

    def cells(self, load: Load) -> list[Cell]:
        """Return all cells, row by row, each with its request and stack.

        The stack's files are found first, so that an axis changes rows as they act.

        Raises:
            LoraCoreError: an axis names a row that is not there, or one of its values cannot be; `where` is the axis.
        """
        start = Subject(self.request, load(self.stack).stack)
        num_rows, num_columns = self.shape
        cells = []
        for row in range(num_rows):
            by_row = start if self.rows is None else _changed(start, "rows", self.rows, row, load)
            for column in range(num_columns):
                subject = _changed(by_row, "columns", self.columns, column, load)
                label = "" if self.rows is None else self.rows.labels[row]
                cells.append(Cell(row, column, label, self.columns.labels[column], subject.request, subject.stack))
        return cells


@dataclass(frozen=True, eq=False)
class Cell:
    """One clip of a grid.

    Attributes:
        row, column: its place, from 0.
        row_label, column_label: what the values are called that it has of the axes.
    """

    row: int
    column: int
    row_label: str
    column_label: str
    request: GenerationRequest
    stack: LoraStack

    def place_on(self, axis: str) -> int:
        """Return which value of an axis, columns or rows, it has."""
        return self.column if axis == "columns" else self.row

    @property
    def title(self) -> str:
        """What it is called in messages and tables."""
        return " · ".join(filter(None, (self.row_label, self.column_label)))


def _changed(subject: Subject, name: str, axis: Axis, place: int, load: Load) -> Subject:
    with located(f"{name} {axis.labels[place]!r:.60}"):
        return axis.apply(subject, place, load)


def _what(axis: Axis) -> Set[tuple[str, str, str]]:
    """Return what an axis changes: a kind, of a row on each expert."""
    sides = ("high_noise", "low_noise") if axis.expert == "both" else (axis.expert,)
    return {(axis.kind, axis.lora, side) for side in sides}
