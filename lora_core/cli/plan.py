"""The command `plan`: which expert and which strengths act at each step, without running a model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..plan.planning import make_plan
from ..plan.routing import route
from .console import console
from .models import known_spec
from .options import ScheduleOptions, StackOptions, schedule_options, stack_options


@click.command("plan")
@click.option("--model", default="wan2.2-t2v-a14b", show_default=True, help="A spec's name, pocket, or a checkpoint.")
@stack_options
@schedule_options
@click.option("--plot", type=click.Path(path_type=Path), help="Draw sigmas, experts and strengths, PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(
    model: str, lora_options: StackOptions, schedule: ScheduleOptions, plot: Path | None, as_json: bool
) -> None:
    """Show which expert and which strengths act at each step, without running a model."""
    spec = known_spec(model)
    plan = make_plan(
        route(lora_options.stack(), spec),
        spec,
        num_steps=schedule.steps,
        shift=schedule.shift,
        sigmas=schedule.sigmas,
        boundary=schedule.boundary,
        cfg=schedule.cfg,
    )
    console().result(json.dumps(plan.to_dict(), indent=2) if as_json else plan.table())
    if plot is not None:
        console().note(f"plot: {plan.plot(plot)}")
