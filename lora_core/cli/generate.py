"""The command `generate`: a video from a prompt, a model and a stack of LoRAs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic import check_target, is_stdout, real_target, write_text
from ..engine.request import GenerationRequest
from ..errors import OutputError
from ..sampling.solvers import SOLVERS
from .console import console
from .guide_option import GuideOptions, guide_options
from .helper_options import GuardOptions, RefinerOptions, guard_options, refiner_options
from .launched import joined_processes, on_own_device, parallel_option
from .options import (
    RUN_OPTIONS,
    Decorator,
    ModelOptions,
    StackOptions,
    TextValue,
    check_levels,
    group,
    model_options,
    partial_option,
    stack_options,
)
from .radial_option import parse_size, radial_option
from .verb import Verb

if TYPE_CHECKING:
    from ..attention.wishes import RadialWishes
    from ..engine.generate import Video
    from ..training.ranks import Ranks


solver_option: Decorator = click.option(
    "--solver", default=GenerationRequest.solver, show_default=True, help=f"One of {', '.join(SOLVERS)}."
)
seed_option: Decorator = click.option(
    "--seed", type=int, default=GenerationRequest.seed, show_default=True, help="ComfyUI's noise for that seed."
)

#: The fields of GenerationRequest but for the size, each under the name that the shell has for it.
_REQUEST_OPTIONS: tuple[Decorator, ...] = (
    click.option("--prompt", "-p", required=True, help="What to show."),
    click.option("--negative", "negative_prompt", default="", help="What not to show; read where guidance is not 1."),
    *RUN_OPTIONS,
    click.option(
        "--embedded-guidance",
        type=float,
        help="What HunyuanVideo is told of guidance; by default the model's own, 6.",
    ),
    solver_option,
    seed_option,
    click.option("--frames", "num_frames", type=int, help="How many frames, 4k+1; by default the model's own."),
    click.option("--fps", type=float, help="Frames per second; by default the model's own."),
    click.option("--image", type=click.Path(path_type=Path), help="First frame, for image models."),
    click.option("--last-image", type=click.Path(path_type=Path), help="Last frame, for image models."),
)


#: What is said as a phase of `generate` begins; how far sampling is, its bar says.
_PHASES = {
    "prompt": "looking at the prompt",
    "files": "hashing the model's files, once for each",
    "text": "encoding the prompt",
    "picture": "encoding the picture",
    "sampling": "sampling",
    "decoding": "decoding the video",
    "guardrail": "letting the guardrail see the video",
}
_EXAMPLES = (
    'lora-core generate -p "a red circle moves up on a plain background" --lora speed_6steps',
    """lora-core generate -p "a zibbo moves right on a plain background" --lora speed_6steps \\
    --guide pocket --guide-lora zibbo_character -o steered.mp4""",
    """lora-core generate -p "a zibbo moves right on a plain background" \\
    --lora speed_6steps --lora zibbo_character:1.2 --seed 3 --scale 8 -o zibbo.gif""",
    'lora-core generate -p "a red circle moves up on a plain background" --frames 33 --radial usual -o long.mp4',
    """lora-core generate -p "a zibbo moves right on a plain background" --lora speed_6steps \\
    --lora zibbo_character --lora neon_style --region zibbo_character=left --region neon_style=right -o halves.mp4""",
    'lora-core generate -p "crimson ball rising over zebra lines" --refine --lora speed_6steps -o refined.mp4',
)


@click.command("generate", cls=Verb, examples=_EXAMPLES)
@group("request", GenerationRequest, *_REQUEST_OPTIONS, check=check_levels)
@model_options
@stack_options
@partial_option
@guide_options
@radial_option
@guard_options
@refiner_options
@parallel_option
@click.option("--size", type=TextValue("size", parse_size), help="WIDTHxHEIGHT in pixels; by default the model's own.")
@click.option("--scale", type=click.IntRange(1, 16), default=1, show_default=True, help="Enlarge every pixel.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("video.mp4"),
    show_default=True,
    help=".mp4, .mkv (lossless), .gif or .webp, or a folder for PNG frames.",
)
@click.option(
    "--json",
    "record_file",
    type=click.Path(path_type=Path),
    help="Write every setting, hash and timing; - for the standard output.",
)
def command(
    model_options: ModelOptions,
    lora_options: StackOptions,
    guide_options: GuideOptions,
    request: GenerationRequest,
    allow_partial: bool,
    radial: RadialWishes | None,
    guard_options: GuardOptions,
    refiner_options: RefinerOptions,
    context_parallel: bool,
    size: tuple[int, int] | None,
    scale: int,
    out: Path,
    record_file: Path | None,
) -> None:
    """Make a video from a prompt, a model and a stack of LoRAs.

    A diffusers folder holds every piece of its model. Of a model in single files --model is the high-noise expert,
    whose twin is found beside it; --text-encoder and --vae are given too.

    LoRAs of a smaller model on the same latents and texts act too: --guide is that model, and runs beside the large
    one (arXiv 2512.03056); the plan in the record and the notes at the end tell where, and what it costs.

    --region and --time let a LoRA act in a part of the picture or of the clip; docs/regions.md tells how.

    Long clips take less self-attention with --radial (arXiv 2506.19852); what is left, and where that does not pay, is
    in the notes at the end, and before a run `lora-core plan --radial` tells it.

    Several GPUs make one clip together with `torchrun --nproc-per-node 2 -m lora_core generate … --context-parallel`;
    the first process alone writes and speaks.
    """
    from ..media.video import check_output

    check_output(out)
    if record_file is not None:
        check_record_file(record_file, out)
    if size is not None:
        request = replace(request, height=size[0], width=size[1])
    refiner = refiner_options.refiner(model_options)
    with joined_processes(context_parallel) as ranks:
        with ranks.as_one():
            arguments = _opened(model_options, lora_options, guide_options, request, allow_partial, radial, ranks)
        arguments["guardrail"] = guard_options.choose(arguments["model"].spec)
        video = made({**arguments, "refiner": refiner}, request)
        if ranks.is_main:
            console().note(f"writing {out}")
            video.save(out, scale=scale)
            if record_file is not None:
                write_record(video.record, record_file)
    if not ranks.is_main:
        return
    for note in video.notes:
        console().note(note)
    tell = console().note if record_file is not None and is_stdout(record_file) else console().result
    tell(f"{out}: {len(video.frames)} frames, {video.plan.num_steps} steps, {video.seconds:.1f} s")


def _opened(
    model_options: ModelOptions,
    lora_options: StackOptions,
    guide_options: GuideOptions,
    request: GenerationRequest,
    allow_partial: bool,
    radial: RadialWishes | None,
    ranks: Ranks,
) -> dict[str, Any]:
    """Return the arguments of `generate`, the model open, what several processes would fail at known to each."""
    stack, guide_stack = lora_options.stack(), guide_options.stack(lora_options)
    console().note(f"opening {model_options.model}")
    model_options = on_own_device(model_options, ranks)
    model = model_options.open()
    guide = guide_options.guide(guide_stack, model, model_options)
    arguments: dict[str, Any] = {"stack": stack, "allow_partial": allow_partial, "guide": guide, "radial": radial}
    if ranks.num > 1:
        from ..engine.checked import check_request
        from ..sampling.context_parallel import make_context_parallel

        arguments["parallel"] = make_context_parallel(model.device)
        check_request(model, request, **arguments)
    return {"model": model, **arguments}


def made(arguments: dict[str, Any], request: GenerationRequest) -> Video:
    """Make the video that `generate` makes of these arguments, showing what is being done."""
    from ..engine.generate import generate

    def say(phase: str) -> None:
        if phase in _PHASES and (phase != "picture" or request.image or request.first_frames):
            console().note(_PHASES[phase])

    with console().progress() as report:
        return generate(
            request=request, callback=lambda i, n, _: report(i + 1, n, "sampling"), on_phase=say, **arguments
        )


def check_record_file(path: Path, out: Path) -> None:
    """Raise unless a record may be written to `path`, the standard output included, beside the video at `out`."""
    if is_stdout(path):
        return
    target = check_target(path)
    if real_target(out) in (target, *target.parents):
        raise OutputError(path, f"its place is taken by the video {out}", remedy="Write the record beside it")


def write_record(record: Mapping[str, object], path: Path) -> None:
    """Write a record as JSON, whole or not at all, or to the standard output."""
    write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", path)
