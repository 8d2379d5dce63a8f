"""The command `ablate`: the clip of a stack, and the same clip without each of its LoRAs, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..engine.request import GenerationRequest
from .console import console
from .ending import asked_to_end
from .generate import REQUEST_OPTIONS
from .options import (
    ModelOptions,
    StackOptions,
    TextValue,
    check_levels,
    group,
    model_options,
    partial_option,
    stack_options,
)
from .radial_option import parse_size
from .verb import Verb


@click.command(
    "ablate",
    cls=Verb,
    examples=(
        """lora-core ablate -p "a zibbo moves right on a plain background" --frames 9 \\
    --lora speed_6steps --lora zibbo_character --lora neon_style:0.6 -o ablation""",
    ),
)
@group("request", GenerationRequest, *REQUEST_OPTIONS, check=check_levels)
@model_options
@stack_options
@partial_option
@click.option("--size", type=TextValue("size", parse_size), help="WIDTHxHEIGHT in pixels; by default the model's own.")
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="The folder of the ablation.")
def command(
    request: GenerationRequest,
    model_options: ModelOptions,
    lora_options: StackOptions,
    allow_partial: bool,
    size: tuple[int, int] | None,
    out: Path,
) -> None:
    """Make the clip of a stack, and the clip without each of its LoRAs from the same noise, to see which one spoils it.

    Into OUT come the clips, sheet.png, ablation.csv with motion, similarity to the whole stack's clip and further
    measures, and ablation.json with every setting and hash. The model is opened once. What is made is not made again:
    after Ctrl-C run the line again.
    """
    from ..balance.ablate import ablate

    if size is not None:
        request = replace(request, height=size[0], width=size[1])
    stack = lora_options.stack()
    console().note(f"opening {model_options.model}")
    model = model_options.open()
    with console().progress() as progress, asked_to_end() as should_stop:
        done = ablate(
            model, request, stack, out, allow_partial=allow_partial, progress=progress, should_stop=should_stop
        )
    console().result(done.report.text())
    console().result(f"{done.folder.sheet}")
    if not done.is_over:
        console().result("stopped; run the same line to go on")
        click.get_current_context().exit(130)
