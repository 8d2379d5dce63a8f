"""The command `plan`: which expert and which strengths act at each step, without running a model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..plan.settings import RunSettings
from .console import console
from .guide_option import GuideOptions, guide_spec_options
from .options import StackOptions, partial_option, run_options, spec_option, stack_options
from .radial_option import PlannedRadial, planned_radial_options
from .verb import Verb


@click.command(
    "plan",
    cls=Verb,
    examples=(
        "lora-core plan --steps 8 --shift 8",
        "lora-core plan --model pocket --lora speed_6steps --lora neon_style:0.8 --plot plan.png",
        "lora-core plan --model pocket --lora speed_6steps --guide pocket --guide-lora zibbo_character:0.7",
        "lora-core plan --model pocket --lora neon_style --time 'neon_style=from 0.5s' --plot plan.png",
        "lora-core plan --steps 40 --radial usual --frames 161 --size 832x480",
    ),
)
@spec_option
@stack_options
@partial_option
@guide_spec_options
@planned_radial_options
@run_options
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw sigmas, experts and strengths over noise and time, PNG."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(
    model: str,
    lora_options: StackOptions,
    allow_partial: bool,
    guide_options: GuideOptions,
    radial: PlannedRadial,
    settings: RunSettings,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show which expert and which strengths act at each step, without running a model."""
    from ..families.registry import spec_named
    from ..media.figures import check_figure
    from ..plan.planning import make_plan
    from ..plan.steering import steered
    from ..stack.loading import load_stack

    if plot is not None:
        check_figure(plot)
    spec = spec_named(model)
    plan = make_plan(load_stack(lora_options.stack(), spec, allow_partial=allow_partial), spec, settings)
    if guide_options.guide_model is not None:
        guide = spec_named(guide_options.guide_model)
        own = load_stack(guide_options.stack(lora_options), guide, allow_partial=allow_partial)
        plan = steered(plan, spec, guide, own, settings, guide_options.settings())
    controller = radial.controller(spec, plan)
    if as_json:
        told = {} if controller is None else {"radial": controller.to_dict()}
        console().result(json.dumps({**plan.to_dict(), **told}, indent=2))
    else:
        notes = () if controller is None else controller.notes()
        console().result("\n".join([plan.table(), *notes]))
    if plot is not None:
        console().note(f"plot: {plan.plot(plot)}")
