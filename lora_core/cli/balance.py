"""The command `balance`: how the LoRAs of a stack go together, what is wrong between them, and better strengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..checks import number_in_text
from ..errors import ModelError, OutputError, PlanError
from .console import console
from .options import ModelOptions, StackOptions, TextValue, optional_model_options, partial_option, stack_options
from .radial_option import parse_size
from .verb import Verb

if TYPE_CHECKING:
    from ..balance.balance import StackBalance
    from ..engine.request import GenerationRequest
    from ..experts import Expert
    from ..families.base import ModelSpec
    from ..families.opened import OpenedModel
    from ..stack.loaded import LoadedStack
    from ..stack.stack import LoraStack

_PATH = click.Path(path_type=Path)
#: What says something of a dry step alone.
_OF_DRY_STEP = ("sigmas", "seed", "size", "num_frames", "image")


def _parse_sigmas(text: str) -> tuple[float, ...]:
    """Read one noise level, or HIGH,LOW."""
    numbers = tuple(number_in_text(part, "--sigma", PlanError) for part in text.split(","))
    if len(numbers) > 2:
        what, remedy = f"{text!r} has {len(numbers)} numbers", "Give at most one for each expert"
        raise PlanError("--sigma", what, expected="one, or HIGH,LOW", remedy=remedy)
    return numbers


@click.command(
    "balance",
    cls=Verb,
    examples=(
        "lora-core balance --lora neon_style --lora zibbo_character",
        """lora-core balance --model pocket --lora speed_6steps --lora neon_style --lora zibbo_character \\
    --lora orbit_motion --map conflicts.png --apply balanced.json""",
        'lora-core balance --model pocket --lora neon_style --lora orbit_motion -p "a blue circle orbits"',
    ),
)
@optional_model_options
@stack_options
@partial_option
@click.option("--prompt", "-p", help="Take one dry step with this prompt, and go by what changes in the outputs.")
@click.option(
    "--sigma", "sigmas", type=TextValue("sigma", _parse_sigmas), help="Noise level of the dry step, or HIGH,LOW."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the dry step's noise.")
@click.option("--size", type=TextValue("size", parse_size), help="WIDTHxHEIGHT of the dry step, in pixels.")
@click.option("--frames", "num_frames", type=int, help="Frames of the dry step, 4k+1.")
@click.option("--image", type=_PATH, help="First frame of the dry step, for image models.")
@click.option("--map", "map_file", type=_PATH, help="Draw the conflict map: .png, .svg or .pdf.")
@click.option("--apply", "applied", type=_PATH, help="Write a stack file with the proposed strengths, JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print all that was measured as JSON.")
@click.option("--force", is_flag=True, help="Replace a stack file that exists.")
def command(
    model_options: ModelOptions,
    lora_options: StackOptions,
    allow_partial: bool,
    prompt: str | None,
    sigmas: tuple[float, ...] | None,
    seed: int,
    size: tuple[int, int] | None,
    num_frames: int | None,
    image: Path | None,
    map_file: Path | None,
    applied: Path | None,
    as_json: bool,
    force: bool,
) -> None:
    """Measure how the LoRAs of a stack go together, name what is wrong between them, and propose strengths.

    Of a model that is there, sizes are by its weights; without one, LoRAs are held against each other alone. With
    --prompt the network runs once for each expert, and once more to have a picture to look at. Speed LoRAs, and those
    for a length, are never rescaled. Nothing changes until --apply writes a stack file.
    """
    from ..balance.balance import balance_stack
    from ..media.figures import check_figure

    _check(click.get_current_context(), prompt)
    if map_file is not None:
        check_figure(map_file)
    if applied is not None and applied.exists() and not force:
        raise OutputError(applied, "exists already", remedy="Choose another name, or pass --force")
    stack = lora_options.stack()
    model, loaded = _opened(model_options, stack, allow_partial)
    if prompt is not None and model is None:
        what = f"a dry step runs the model, and --model {model_options.model} names no file"
        raise ModelError("--prompt", what, expected="a file, a folder, or pocket", remedy="Give the model")
    request = None if prompt is None else _request(prompt, seed, size, num_frames, image)
    with console().progress() as progress:
        chosen = _by_expert(sigmas, loaded.spec)
        balance = balance_stack(loaded, model, request=request, sigmas=chosen, progress=progress)
    console().result(json.dumps(balance.to_dict(), indent=2) if as_json else balance.text())
    _write(balance, map_file, applied, lora_options.lora_folders)


def _check(ctx: click.Context, prompt: str | None) -> None:
    """Refuse what does nothing without a dry step."""
    for name in _OF_DRY_STEP if prompt is None else ():
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = {"sigmas": "sigma", "num_frames": "frames"}.get(name, name)
            raise PlanError(f"--{option}", "would do nothing without --prompt", remedy="Give a prompt, or leave it out")


def _opened(options: ModelOptions, stack: LoraStack, allow_partial: bool) -> tuple[OpenedModel | None, LoadedStack]:
    """Return the model, None where there is none or a name alone, and the stack read for it."""
    from ..balance.alone import NO_MODEL, load_alone
    from ..families.registry import spec_named, spec_names
    from ..stack.loading import load_stack

    if options.model == NO_MODEL:
        return None, load_alone(stack, allow_partial=allow_partial)
    if options.model in spec_names():
        return None, load_stack(stack, spec_named(options.model), allow_partial=allow_partial)
    model = options.open()
    return model, load_stack(stack, model.spec, allow_partial=allow_partial)


def _request(
    prompt: str, seed: int, size: tuple[int, int] | None, num_frames: int | None, image: Path | None
) -> GenerationRequest:
    from ..engine.request import GenerationRequest

    height, width = size or (None, None)
    return GenerationRequest(prompt, image=image, seed=seed, height=height, width=width, num_frames=num_frames)


def _by_expert(sigmas: tuple[float, ...] | None, spec: ModelSpec) -> Mapping[Expert, float] | None:
    """Return the noise level of each expert; a single one is that of the expert that works there."""
    if sigmas is None:
        return None
    if len(sigmas) == 2:
        if spec.num_experts == 1:
            raise PlanError("--sigma", f"{spec.title} has one expert", expected="one number", remedy="Give one")
        return {"high_noise": sigmas[0], "low_noise": sigmas[1]}
    return {"high_noise" if spec.boundary is not None and sigmas[0] >= spec.boundary else "low_noise": sigmas[0]}


def _write(balance: StackBalance, map_file: Path | None, applied: Path | None, lora_folders: tuple[Path, ...]) -> None:
    """Write what was asked for, and say so."""
    if map_file is not None:
        console().note(f"conflict map: {balance.save_map(map_file)}")
    if applied is not None:
        console().note(f"proposed strengths: {balance.proposed.stack.write_preset(applied, lora_folders)}")
