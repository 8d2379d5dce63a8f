"""The command `grid`: clips along two axes, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .console import console
from .ending import asked_to_end
from .helper_options import GuardOptions, guard_options
from .lora_option import LORA_FORM, complete_lora
from .options import ModelOptions, StackOptions, download_option, model_options, partial_option
from .place_option import place_options, placed
from .set_option import set_option
from .verb import Verb

if TYPE_CHECKING:
    from ..grids.grid import Grid

_PATH = click.Path(path_type=Path)
_AXIS = "KIND [LORA] [EXPERT] = VALUE | …"
_EXAMPLES = (
    "lora-core grid examples/grids/zibbo.toml -o out/grid",
    """lora-core grid -p "a zibbo moves right on a plain background" --lora speed_6steps --lora zibbo_character \\
    --columns "strength zibbo_character low_noise = 0 | 0.5 | 1" --set frames=9 --dry-run""",
)


@click.command("grid", cls=Verb, examples=_EXAMPLES)
@click.argument("grid_file", type=_PATH, metavar="[GRID.TOML]", required=False)
@click.option("--columns", metavar=_AXIS, help="What differs from column to column.")
@click.option("--rows", metavar=_AXIS, help="What differs from row to row.")
@click.option("--prompt", "-p", help="What to show.")
@click.option(
    "--lora", "loras", multiple=True, metavar=LORA_FORM, shell_complete=complete_lora, help="A LoRA behind the file's."
)
@place_options
@click.option("--seed", type=int, help="Of the noise.")
@click.option("--steps", type=int, help="How many steps.")
@set_option
@model_options
@partial_option
@download_option
@guard_options
@click.option("--out", "-o", type=_PATH, help="The folder of the grid.")
@click.option("--yes", is_flag=True, help="Make more than 48 cells.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what it costs, and make nothing.")
def command(
    grid_file: Path | None,
    columns: str | None,
    rows: str | None,
    prompt: str | None,
    loras: tuple[str, ...],
    regions: tuple[str, ...],
    times: tuple[str, ...],
    seed: int | None,
    steps: int | None,
    settings: tuple[str, ...],
    model_options: ModelOptions,
    allow_partial: bool,
    download: bool,
    guard_options: GuardOptions,
    out: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Make a grid of clips over one or two axes, and show them side by side, all playing together.

    An axis is strength, file, targets or schedule of a LoRA, on both experts or one; without, which leaves a LoRA out
    by its name; or steps, seed, prompt, negative_prompt, cfg, shift or solver. Options take the place of what GRID.TOML
    says; docs/grids.md has its keys.

    The model is opened once and each prompt read once. Cells that differ for the low-noise expert only share the steps
    of the other; every clip is all the same, bit for bit, what `generate` makes. Into OUT come the clips, sheet.mp4,
    sheet.png, cells.csv with what was measured, and grid.json with the line that makes each cell again. What is made
    is not made again: after Ctrl-C, or to add a value, run the line again.
    """
    from ..errors import RequestError
    from ..grids.make import make_grid, plan_grid
    from ..grids.planned import USUAL_LIMIT

    if out is None and not dry_run:
        raise RequestError("--out", "no folder is given", remedy="Give one with -o, or pass --dry-run")
    given = {"columns": columns, "rows": rows, "prompt": prompt, "seed": seed, "steps": steps}
    grid, model_options = _read(grid_file, settings, given, model_options)
    options = StackOptions(loras, None, (), no_verify=False, download=download)
    grid = replace(grid, stack=placed(options.with_loras(grid.stack, loras), regions, times))
    console().note(f"opening {model_options.model}")
    model = model_options.open()
    if out is None or dry_run:
        cost = plan_grid(model, grid, allow_partial=allow_partial, download=download)
        console().result(cost.text())
        return
    with console().progress() as progress, asked_to_end() as should_stop:
        made = make_grid(
            model,
            grid,
            out,
            allow_partial=allow_partial,
            download=download,
            guardrail=guard_options.choose(model.spec),
            limit=None if yes else USUAL_LIMIT,
            model_words=list(_words(model_options)),
            progress=progress,
            tell=console().note,
            should_stop=should_stop,
        )
    console().result(f"{made.sheet}")
    if not made.is_over:
        console().result("stopped; run the same line to go on")
        click.get_current_context().exit(130)


def _read(
    path: Path | None, settings: tuple[str, ...], given: Mapping[str, Any], options: ModelOptions
) -> tuple[Grid, ModelOptions]:
    """Return the grid, and the model's options with what the file says of it."""
    from ..errors import relocated
    from ..grids.read import grid_from, read_toml_of_grid, settings_of

    file = "" if path is None else path.name
    with relocated(lambda where: " ".join(filter(None, (file, where))) or "grid"):
        values = {} if path is None else read_toml_of_grid(path)
        options_of_grid = settings_of(settings) | {key: value for key, value in given.items() if value is not None}
        values |= options_of_grid
        of_model = {key: values.pop(key) for key in list(values) if key in ModelOptions.__dataclass_fields__}
        grid = grid_from(values, also=ModelOptions.__dataclass_fields__)
        _check_beside_axes(options_of_grid, grid)
    return grid, replace(options, **dict(_of_model(of_model)))


def _check_beside_axes(given: Iterable[str], grid: Grid) -> None:
    """Refuse an option of what an axis takes other values of."""
    from ..errors import RequestError

    for name, axis in grid.axes:
        if axis.kind in given:
            raise RequestError(
                axis.kind, f"would do nothing beside the {name}, which are of it", remedy="Leave one out"
            )


def _of_model(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a file says of the model and the command line does not."""
    context = click.get_current_context()
    for key, value in values.items():
        if context.get_parameter_source(key) is not ParameterSource.COMMANDLINE:
            parameter = next(one for one in context.command.params if one.name == key)
            yield key, parameter.type.convert(value, parameter, context)


def _words(options: ModelOptions) -> Iterator[str]:
    """Yield the words that open the model again, paths whole."""
    context = click.get_current_context()
    for parameter in context.command.params:
        value = getattr(options, str(parameter.name), None)
        if parameter.name in ModelOptions.__dataclass_fields__ and value not in (None, parameter.default):
            is_there = isinstance(value, Path) or Path(str(value)).exists()
            yield from (parameter.opts[0], str(Path(value).absolute()) if is_there else str(value))
