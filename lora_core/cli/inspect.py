"""The command `inspect`: what is in a LoRA file and what of it fits a model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .console import console
from .lora_option import LoraPath
from .verb import Verb


@click.command(
    "inspect",
    cls=Verb,
    examples=("lora-core inspect neon_style --model pocket", "lora-core inspect zibbo_character --plot sizes.png"),
)
@click.argument("files", nargs=-1, required=True, type=LoraPath())
@click.option("--model", help="The model it must fit: a spec's name, pocket, or a checkpoint; else any of its family.")
@click.option("--all", "every", is_flag=True, help="One line for every tensor.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the size of the change by block and module, PNG.")
@click.pass_context
def command(
    ctx: click.Context, files: tuple[Path, ...], model: str | None, every: bool, as_json: bool, plot: Path | None
) -> None:
    """Show what is in LoRA FILES, or in embedded ones by their names, and what of it fits a model.

    Ends with exit code 1 if a file would be refused.
    """
    from ..families.registry import spec_named
    from ..files.report import inspect_lora
    from ..media.figures import check_figure

    if plot is not None:
        check_figure(plot)
    spec = None if model is None else spec_named(model)
    reports = [inspect_lora(file, spec=spec) for file in files]
    if as_json:
        found = [report.to_dict() for report in reports]
        console().result(json.dumps(found[0] if len(found) == 1 else found, indent=2))
    else:
        console().result("\n\n".join(report.text(every=every) for report in reports))
    if plot is not None:
        from ..files.plot import save_delta_plot
        from ..files.read import read_lora

        save_delta_plot([read_lora(file, spec=spec, allow_partial=True) for file in files], plot)
        console().note(f"plot: {plot}")
    ctx.exit(1 if any(report.faults for report in reports) else 0)
