"""The command `lengths`: a model at several lengths, with and without LoRAs, with dense and radial attention."""

from __future__ import annotations

from pathlib import Path

import click

from ..checks import shown
from ..errors import RequestError
from ..stack.stack import LoraStack
from .console import console
from .ending import asked_to_end
from .lora_option import LORA_FORM, complete_lora
from .options import ModelOptions, StackOptions, TextValue, model_options, parse_cfg, partial_option, stack_options
from .radial_option import parse_size
from .verb import Verb

_PATH = click.Path(path_type=Path)


def _parse_frames(text: str) -> tuple[int, ...]:
    """Read lengths with commas between them."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if odd := next((part for part in parts if not part.isdecimal()), None):
        what = f"{shown(odd)} is no number of frames"
        raise RequestError("--frames", what, expected="such as 17,33,49,65", remedy="Correct it")
    return tuple(map(int, parts))


@click.command(
    "lengths",
    cls=Verb,
    examples=(
        """lora-core lengths --frames 5,9 --steps 4 --dense-only --lora zibbo_character \\
    -p "a zibbo moves right on a plain background" -o evaluated""",
    ),
)
@click.option("--frames", type=TextValue("frames", _parse_frames), required=True, help="The lengths, such as 17,33,65.")
@click.option("--prompt", "-p", "prompts", multiple=True, help="What to show; repeat for several.")
@click.option("--negative", default="", help="What not to show; read where guidance is not 1.")
@model_options
@stack_options
@click.option(
    "--common-lora",
    "common",
    multiple=True,
    metavar=LORA_FORM,
    shell_complete=complete_lora,
    help="A LoRA that acts in every video, such as one for speed; repeat for several.",
)
@partial_option
@click.option("--dense-only", is_flag=True, help="Leave radial attention out.")
@click.option("--steps", type=int, help="How many steps; by default the model's own.")
@click.option("--cfg", type=TextValue("number", parse_cfg), help="Guidance, or HIGH,LOW; by default the model's own.")
@click.option("--shift", type=float, help="Shift of the noise schedule; by default the model's own.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first prompt's noise.")
@click.option("--size", type=TextValue("size", parse_size), help="WIDTHxHEIGHT in pixels; by default the model's own.")
@click.option("--image", type=_PATH, help="First frame, for image models.")
@click.option("--out", "-o", type=_PATH, required=True, help="The folder of the evaluation.")
def command(
    frames: tuple[int, ...],
    prompts: tuple[str, ...],
    negative: str,
    model_options: ModelOptions,
    lora_options: StackOptions,
    common: tuple[str, ...],
    allow_partial: bool,
    dense_only: bool,
    steps: int | None,
    cfg: float | tuple[float, float] | None,
    shift: float | None,
    seed: int,
    size: tuple[int, int] | None,
    image: Path | None,
    out: Path,
) -> None:
    """Make videos at several lengths, with and without the LoRAs, with dense and radial attention, and measure them.

    Into OUT come the videos, one sheet of them, and lengths.md: consistency of subject and background, flicker, motion,
    drift of colour, repetition, time and memory, with plots; of the pocket model also whether colour, shape and path
    are as asked. Prompts may be left out for the pocket model. What is made is not made again: after Ctrl-C, or to add
    a length, run the line again.
    """
    from ..lengths.asked import LengthsAsked
    from ..lengths.evaluate import evaluate_lengths
    from ..lengths.meaning import is_embedded, pocket_prompts

    lora, common_stack = lora_options.stack(), lora_options.with_loras(LoraStack(), common)
    console().note(f"opening {model_options.model}")
    model = model_options.open()
    asked = LengthsAsked(
        frames=frames,
        prompts=prompts or (pocket_prompts() if is_embedded(model) else ()),
        negative_prompt=negative,
        num_steps=steps,
        cfg=cfg,
        shift=shift,
        seed=seed,
        height=size[0] if size else None,
        width=size[1] if size else None,
        image=image,
    )
    with console().progress() as progress, asked_to_end() as should_stop:
        evaluated = evaluate_lengths(
            model,
            asked,
            out,
            lora=lora,
            common=common_stack,
            is_radial=not dense_only,
            allow_partial=allow_partial,
            progress=progress,
            should_stop=should_stop,
        )
    console().result(f"{evaluated.folder.report}")
    if not evaluated.is_over:
        console().result("stopped; run the same line to go on")
        click.get_current_context().exit(130)
