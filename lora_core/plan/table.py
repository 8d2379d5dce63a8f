"""A plan as a table of text, at most 100 columns wide however many LoRAs it has."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING

from ..checks import number_text

if TYPE_CHECKING:
    from .plan import SamplingPlan, StepPlan

WIDTH = 100
_MIN_COLUMN, _MAX_COLUMN = 6, 16
_EXPERTS = {"high_noise": "high", "low_noise": "low"}


def plan_table(plan: SamplingPlan) -> str:
    """Return a heading, one line per step, and what was noticed."""
    fixed = f"{'step':>4}  {'sigma':>7}  {'expert':<6}  {'cfg':>4}"
    names = plan.names
    room = (WIDTH - len(fixed)) // max(len(names), 1) - 2
    titles = {name: name for name in names}
    if names and room < min(_MAX_COLUMN, max(map(len, names))):
        titles = {name: f"[{i}]" for i, name in enumerate(names, 1)}  # their names go below
    columns = {name: max(_MIN_COLUMN, len(title)) for name, title in titles.items()}
    chunks = _chunks(list(names), columns, WIDTH - len(fixed))
    lines = [_heading(plan)]
    for chunk in chunks:
        lines += ["", fixed + "".join(f"  {titles[name]:>{columns[name]}}" for name in chunk)]
        cells = zip(*(_cells(plan, name, columns[name]) for name in chunk), strict=True) if chunk else repeat(())
        lines += [_row(step, row) for step, row in zip(plan.steps, cells, strict=False)]
    legend = [f"{title} {name}" for name, title in titles.items() if title != name]
    notes = [line for advice in plan.advice for line in textwrap.wrap(str(advice), WIDTH, subsequent_indent="  ")]
    return "\n".join([*lines, *_paragraph(legend), *_paragraph(notes)])


def _heading(plan: SamplingPlan) -> str:
    shift = "own sigmas" if plan.shift is None else f"shift {number_text(plan.shift)}"
    boundary = "one expert" if plan.boundary is None else f"boundary {number_text(plan.boundary)}"
    steps = f"{plan.num_steps} step{'s' if plan.num_steps > 1 else ''}"
    return f"{plan.model}: {steps}, {shift}, {boundary}"


def _row(step: StepPlan, cells: Iterable[str]) -> str:
    return f"{step.index + 1:>4}  {step.sigma:>7.5f}  {_EXPERTS[step.expert]:<6}  {step.cfg:>4.3g}" + "".join(cells)


def _cells(plan: SamplingPlan, name: str, width: int) -> list[str]:
    """Return a LoRA's column: its strength at every step, a dash where it is not on the step's expert."""
    texts = ("-" if strength is None else f"{strength:.3f}" for strength in plan.strengths_of(name))
    return [f"  {text:>{width}}" for text in texts]


def _chunks(names: list[str], columns: dict[str, int], room: int) -> list[list[str]]:
    """Split the columns over as many tables as it takes; one without columns when there are none."""
    chunks: list[list[str]] = [[]]
    left = room
    for name in names:
        width = columns[name] + 2
        if width > left and chunks[-1]:
            chunks.append([])
            left = room
        chunks[-1].append(name)
        left -= width
    return chunks


def _paragraph(lines: list[str]) -> list[str]:
    return ["", *lines] if lines else []
