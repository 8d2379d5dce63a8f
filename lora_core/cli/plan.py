"""The command `plan`: which expert and which strengths act at each step, without running a model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..families.registry import spec_named, spec_names
from ..media.figures import check_figure
from ..plan.planning import make_plan
from ..plan.settings import RunSettings
from ..stack.loading import load_stack
from .console import console
from .options import StackOptions, run_options, stack_options


@click.command("plan")
@click.option("--model", default=spec_names()[0], show_default=True, help="A spec's name, pocket, or a checkpoint.")
@stack_options
@run_options
@click.option("--plot", type=click.Path(path_type=Path), help="Draw sigmas, experts and strengths, PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(model: str, lora_options: StackOptions, settings: RunSettings, plot: Path | None, as_json: bool) -> None:
    """Show which expert and which strengths act at each step, without running a model."""
    if plot is not None:
        check_figure(plot)
    spec = spec_named(model)
    plan = make_plan(load_stack(lora_options.stack(), spec), spec, settings)
    console().result(json.dumps(plan.to_dict(), indent=2) if as_json else plan.table())
    if plot is not None:
        console().note(f"plot: {plan.plot(plot)}")
