"""The report on an ablation: a row for each clip, as a table, a CSV file, a record, and a sheet of frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..atomic import write_text
from ..comparison.folder import read_json, write_json
from ..media.contact_sheet import contact_sheet
from ..media.measures import MEASURES
from ..media.video import read_video
from ..wording import Said, joined, padded, said
from .ablation_folder import AblationFolder, Cell

_COLUMNS = 9
_NAME, _NUMBER = 34, 12
#: By how much motion grows without a LoRA that is then said to hold it back.
_HOLDS_BACK = 1.25
#: The similarity of two clips that nobody tells apart.
_SAME = 0.995


@dataclass(frozen=True)
class AblationRow:
    """One clip.

    Attributes:
        read: measure -> what was read; `similarity` is to the clip of the whole stack.
    """

    cell: Cell
    read: Mapping[str, float]


@dataclass(frozen=True)
class AblationReport:
    """What is known of an ablation; the first row is the whole stack's, if it is there."""

    rows: tuple[AblationRow, ...]

    def text(self) -> Said:
        """Return the table for people, and which LoRA holds motion back."""
        heads = [said("motion"), said("similarity"), said("flicker"), said("drift")]
        lines = [joined("", [padded("", _NAME), *(padded(head, _NUMBER, to_right=True) for head in heads)])]
        lines += [joined("", [padded(_short(row.cell.title), _NAME), *_numbers(row)]) for row in self.rows]
        return joined("\n", [*lines, *self.findings()])

    def findings(self) -> Iterator[Said]:
        """Yield a line for the LoRA without which most motion comes back, and for the one that changes most."""
        whole = next((row for row in self.rows if row.cell.left_out is None), None)
        others = [row for row in self.rows if row.cell.left_out is not None]
        if whole is None or not others:
            return
        moving = max(others, key=lambda row: row.read["motion"])
        if moving.read["motion"] > _HOLDS_BACK * whole.read["motion"]:
            yield said(
                "without {lora} there is most motion: {motion} instead of {whole}",
                lora=moving.cell.left_out,
                motion=f"{moving.read['motion']:.3f}",
                whole=f"{whole.read['motion']:.3f}",
            )
        least = min(others, key=lambda row: row.read["similarity"])
        if least.read["similarity"] > _SAME:
            yield said("whichever LoRA is left out, the clip stays the same")
            return
        yield said(
            "{lora} changes the clip most: without it the similarity is {similarity}",
            lora=least.cell.left_out,
            similarity=f"{least.read['similarity']:.2f}",
        )


def write_report(folder: AblationFolder, cells: Sequence[Cell], asked: Mapping[str, Any]) -> AblationReport:
    """Write table, record and sheet of the clips that there are, and return the report."""
    done = filter(folder.is_done, cells)
    found = {cell: read for cell in done if (read := read_json(folder.readings(cell))) is not None}
    report = AblationReport(tuple(AblationRow(cell, read["read"]) for cell, read in found.items()))
    rows = [{"file": folder.clip(cell).name, **read} for cell, read in found.items()]
    write_json(
        {"format": 1, **asked, "clips": rows, "findings": [str(line) for line in report.findings()]}, folder.record
    )
    write_text(_csv(report), folder.table)
    if found:
        contact_sheet(
            (read_video(folder.clip(cell))[0] for cell in found),
            [_label(row) for row in report.rows],
            folder.sheet,
            title=asked["request"]["prompt"],
            num_columns=_COLUMNS,
            cell=96,
        )
    return report


def _csv(report: AblationReport) -> str:
    text = io.StringIO()
    names = [*MEASURES, "similarity"]
    table = csv.DictWriter(text, ["clip", "left_out", *names], lineterminator="\n")
    table.writeheader()
    for row in report.rows:
        table.writerow({"clip": row.cell.file, "left_out": row.cell.left_out or "", **row.read})
    return text.getvalue()


def _label(row: AblationRow) -> str:
    lines = [f"motion {row.read['motion']:.3f}"]
    if row.cell.left_out is not None:
        lines.append(f"similarity {row.read['similarity']:.2f}")
    return "\n".join([_short(row.cell.title), *lines])


def _numbers(row: AblationRow) -> list[Said]:
    """Return the cells of a row; what could not be read is a dash."""
    digits = {"motion": 3, "similarity": 2, "flicker": MEASURES["flicker"].digits, "drift": MEASURES["drift"].digits}
    texts = [f"{row.read[name]:.{count}f}" if name in row.read else "-" for name, count in digits.items()]
    return [padded(text, _NUMBER, to_right=True) for text in texts]


def _short(title: Said) -> Said | str:
    return title if len(title) < _NAME else f"{title[: _NAME - 2]}…"
