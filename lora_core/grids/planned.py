"""A grid that is planned: every cell checked, what cells share found, and what it costs, before a network runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from ..checkpoints.hashes import hashes_of
from ..engine.checked import check_request
from ..engine.record import asked_rows
from ..engine.shared import beginning_of, whole_of
from ..errors import RequestError, StackError, located
from ..experts import EXPERTS, Expert
from ..families.opened import OpenedModel
from ..jobs.finished import without_places
from ..plan.plan import SamplingPlan
from ..wording import Said, joined, said
from .grid import Cell, Grid
from .subject import Load

#: More cells than this are meant only by whoever says so.
USUAL_LIMIT = 48


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """One cell, checked.

    Attributes:
        cell: with the files of its LoRAs found.
        asked: the rows of its record that are known beforehand.
        begins: a key that cells have in common whose latents at the switch are the same; None where none are shared.
        makes: a key that cells have in common which would be the same clip.
        steps: of each expert, each with its guidance.
    """

    cell: Cell
    asked: dict[str, object]
    begins: str | None
    makes: str
    steps: dict[Expert, tuple[float, ...]]

    @property
    def recipe(self) -> str:
        """The hash of all that it is made of, by which it is known when a grid goes on."""
        told = json.dumps(without_places(self.asked), sort_keys=True, ensure_ascii=False)
        return sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class Cost:
    """How many steps each expert takes.

    Attributes:
        alone: if every cell was made by itself.
        shared: as the cells are made.
    """

    num_cells: int
    alone: dict[Expert, int]
    shared: dict[Expert, int]

    def text(self) -> Said:
        """Say what is to be done, and what sharing saves."""
        saved = sum(self.alone.values()) - sum(self.shared.values())
        experts = [expert for expert in EXPERTS if self.alone[expert]]
        steps: str = joined(" and ", [_COUNTED[expert](self.shared[expert]) for expert in experts])
        if len(experts) == 1:
            steps = str(self.shared[experts[0]])
        cells = said("{count} cells" if self.num_cells > 1 else "{count} cell", count=self.num_cells)
        if not saved:
            return said("{cells} to make: {steps} steps", cells=cells, steps=steps)
        share = f"{sum(self.shared.values()) / sum(self.alone.values()):.0%}"
        return said(
            "{cells} to make: {steps} steps, {share} of what they take one by one; {saved} are shared",
            cells=cells,
            steps=steps,
            share=share,
            saved=saved,
        )


_COUNTED = {
    "high_noise": lambda count: said("{count} high-noise", count=count),
    "low_noise": lambda count: said("{count} low-noise", count=count),
}


def plan_cells(model: OpenedModel, grid: Grid, load: Load, beside: dict[str, object]) -> list[PlannedCell]:
    """Check every cell against the model, in the order of the sheet; `beside` is what else its file depends on.

    Raises:
        LoraCoreError: a cell cannot be made, or a value changes nothing; `where` names cell or axis.
    """
    hashes = hashes_of(model.files)
    planned = [_planned(model, cell, grid, load, hashes, beside) for cell in grid.cells(load)]
    check_values(grid, planned)
    return planned


def _planned(
    model: OpenedModel, cell: Cell, grid: Grid, load: Load, hashes: dict[str, str], beside: dict[str, object]
) -> PlannedCell:
    for entry in cell.stack:
        if entry.path is None:
            what = "it was made in memory"
            raise StackError(f"LoRA {entry.name!r}", what, remedy="Write its weights to a file first")
    with located(f"cell {cell.title!r:.80}"):
        checked = check_request(model, cell.request, load(cell.stack), radial=grid.radial)
    asked = asked_rows(model, cell.request, checked.clip, checked.loaded, hashes, radial=checked.radial)
    begins = beginning_of(model.spec, cell.request, checked)
    cell = replace(cell, stack=checked.loaded.stack)
    return PlannedCell(
        cell, asked | beside, begins, whole_of(model.spec, cell.request, checked), guidance_of(checked.plan)
    )


def guidance_of(plan: SamplingPlan) -> dict[Expert, tuple[float, ...]]:
    """Return the guidance of each step, by its expert."""
    return {expert: tuple(step.cfg for step in plan.steps if step.expert == expert) for expert in EXPERTS}


def check_values(grid: Grid, planned: Sequence[PlannedCell]) -> None:
    """Refuse two values of an axis at which all clips are the same: every value has to change something."""
    for name, axis in grid.axes:
        lines: dict[tuple[str, ...], str] = {}
        for place, label in enumerate(axis.labels):
            line = tuple(one.makes for one in planned if place == one.cell.place_on(name))
            if (other := lines.setdefault(line, label)) != label:
                what = said(
                    "{value!r:.60} makes the same clips as {other!r:.60}: {title} changes nothing here",
                    value=label,
                    other=other,
                    title=axis.title,
                )
                raise RequestError(
                    name, what, expected="values that act in this run", remedy="Leave one out, or choose another axis"
                )


def in_order(planned: Sequence[PlannedCell]) -> list[PlannedCell]:
    """Return cells so that those which share latents at the switch come one after another."""
    groups: dict[object, list[PlannedCell]] = {}
    for one in planned:
        groups.setdefault(one.begins or one, []).append(one)
    return [one for group in groups.values() for one in group]


def cost_of(planned: Sequence[PlannedCell]) -> Cost:
    """Count the steps of cells that are made in order."""
    alone: Counter[Expert] = Counter()
    shared: Counter[Expert] = Counter()
    seen: set[str] = set()
    for one in planned:
        alone.update({expert: len(steps) for expert, steps in one.steps.items()})
        shared.update(num_steps_left(one, is_shared=one.begins in seen))
        seen.add(one.begins or "")
    return Cost(len(planned), {e: alone[e] for e in EXPERTS}, {e: shared[e] for e in EXPERTS})


def num_steps_left(one: PlannedCell, *, is_shared: bool) -> dict[Expert, int]:
    """Return how many steps of each expert a cell takes, where its beginning is shared or not."""
    first = next(expert for expert in EXPERTS if one.steps[expert])
    skipped = first if is_shared and one.begins else None
    return {expert: 0 if expert == skipped else len(steps) for expert, steps in one.steps.items()}


def check_limit(grid: Grid, limit: int | None, remedy: str = "Choose fewer values, or pass --yes") -> None:
    """Raise where there are more cells than were thought of."""
    num_cells = grid.shape[0] * grid.shape[1]
    if limit is not None and num_cells > limit:
        what = said("{count} cells", count=num_cells)
        expected = said("at most {most} unless more are wanted", most=limit)
        raise RequestError("grid", what, expected=expected, remedy=remedy)
