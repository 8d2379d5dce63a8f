"""The making of a grid: cell by cell, what is done already left as it is, then the sheet and the table of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..checks import typed
from ..engine.generate import Video, generate
from ..engine.guarding import Guard, Guardrail
from ..engine.record import lora_row
from ..engine.shared import Shared
from ..errors import RequestError, located
from ..families.opened import OpenedModel
from ..jobs.finished import is_finished, output_row
from ..media.video import save_video
from ..progress import Progress, unheard
from ..refiner.naming import name_of
from ..wording import Said
from .estimate import Pace
from .folder import CellFiles, GridFolder
from .grid import Grid
from .planned import USUAL_LIMIT, Cost, PlannedCell, check_limit, cost_of, in_order, plan_cells
from .reading import reader
from .sheet import write_results
from .subject import Load

#: Small clips are enlarged to about this height.
_HEIGHT_PX = 256


class _StoppedError(Exception):
    """Somebody has asked for an end."""


@dataclass(frozen=True)
class MadeGrid:
    """What has come of a grid.

    Attributes:
        path: its folder.
        sheet: all cells that there are, playing together.
        picture: some frames of each.
        table: what was measured, as comma-separated values.
        recipe: what was made of what, as JSON.
        cells: of each cell its values, files and measures, row by row; those that are not made are missing.
        is_over: whether nothing is left to do.
    """

    path: Path
    sheet: Path
    picture: Path
    table: Path
    recipe: Path
    cells: tuple[dict[str, Any], ...]
    is_over: bool


@typed(RequestError)
def plan_grid(
    model: OpenedModel, grid: Grid, *, allow_partial: bool = False, download: bool = False, limit: int | None = None
) -> Cost:
    """Check a grid and return what it costs, without a folder and without running a network; errors as `make_grid`."""
    load = reader(model.spec, allow_partial=allow_partial, download=download)
    check_limit(grid, limit)
    planned = plan_cells(model, grid, load, {})
    return cost_of(in_order(planned))


@typed(RequestError)
def make_grid(
    model: OpenedModel,
    grid: Grid,
    out: str | Path,
    *,
    allow_partial: bool = False,
    download: bool = False,
    guardrail: Guardrail = None,
    limit: int | None = USUAL_LIMIT,
    model_words: Sequence[str] | None = None,
    progress: Progress = unheard,
    tell: Callable[[Said], None] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> MadeGrid:
    """Make the clips of a grid and show them side by side; a cell that the folder has already is not made again.

    Every cell is bit for bit what `generate` makes of its request and stack alone. Cells that differ for the low-noise
    expert only go on from the same latents at the switch.

    Args:
        model: an opened model.
        grid: what is asked.
        out: the folder of the grid.
        allow_partial: as in `generate`, like the next two.
        download: fetch repositories that the local cache lacks.
        guardrail: what looks at prompts and videos.
        limit: how many cells are thought of; None for any number.
        model_words: how the shell opens the model, for the commands of the recipe; by its files where nobody says.
        progress: told of cells, and of the steps of the one that is being made.
        tell: told what is to be done, and how long it will take.
        should_stop: asked behind every step; an end leaves the cells that are done.

    Raises:
        LoraCoreError: something cannot be, which is said before a network runs.
    """
    load = reader(model.spec, allow_partial=allow_partial, download=download)
    checker = Guard.of(guardrail, model).checker
    scale = grid.scale or max(1, _HEIGHT_PX // grid.request.clip(model.spec).height)
    beside: dict[str, object] = {"scale": scale, "guardrail": None if checker is None else name_of(checker)}
    check_limit(grid, limit)
    planned = plan_cells(model, grid, load, beside)
    work = _Work(model, grid, GridFolder(Path(out).absolute()), load, guardrail, scale, progress, should_stop)
    work.folder.check()
    with work.folder.locked():
        todo = [one for one in in_order(planned) if not work.is_done(one)]
        is_over = work.make(todo, len(planned), tell)
        cells = write_results(work.folder, grid, planned, model, scale, model_words)
    folder = work.folder
    return MadeGrid(folder.path, folder.sheet, folder.picture, folder.table, folder.recipe, tuple(cells), is_over)


@dataclass(frozen=True)
class _Work:
    """A grid at work."""

    model: OpenedModel
    grid: Grid
    folder: GridFolder
    load: Load
    guardrail: Guardrail
    scale: int
    progress: Progress
    should_stop: Callable[[], bool]

    def files(self, one: PlannedCell) -> CellFiles:
        return self.folder.files(one, self.grid.ending)

    def is_done(self, one: PlannedCell) -> bool:
        """Say whether the folder holds a cell as it is asked for."""
        files = self.files(one)
        return files.stack.is_file() and is_finished(files.clip, files.record, one.asked)

    def make(self, todo: Sequence[PlannedCell], num_cells: int, tell: Callable[[Said], None]) -> bool:
        """Make cells one after another; return whether none is left."""
        if todo:
            tell(cost_of(todo).text())
        shared, pace = Shared(), Pace()
        try:
            for place, one in enumerate(todo):
                with located(f"cell {one.cell.title!r:.80}"):
                    video = self._video(one, shared)
                self._write(one, video)
                self.progress(num_cells - len(todo) + place + 1, num_cells, "cells")
                pace.note(one, video.timings)
                if place == 0 and (left := pace.left(todo)) is not None:
                    tell(left)
        except _StoppedError:
            return False
        return True

    def _video(self, one: PlannedCell, shared: Shared) -> Video:
        def note(step: int, num_steps: int, x0: object) -> None:
            if self.should_stop():
                raise _StoppedError
            self.progress(step + 1, num_steps, "sampling")

        return generate(
            self.model,
            one.cell.request,
            self.load(one.cell.stack),
            radial=self.grid.radial,
            guardrail=self.guardrail,
            shared=shared,
            callback=note,
        )

    def _write(self, one: PlannedCell, video: Video) -> None:
        """Write a cell's files, each whole or not at all; the record, by which the cell counts as done, last."""
        files = self.files(one)
        save_video(video.frames, files.clip, video.fps, scale=self.scale)
        rows = [lora_row(entry) for entry in one.cell.stack]
        write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", files.stack)
        record = {**video.record, "scale": self.scale, "output": output_row(files.clip)}
        write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", files.record)
