"""The command `transfer`: a LoRA put on another base of the same shapes, or on the one its own was rounded from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..atomic import check_target, write_text
from ..errors import ModelError, OutputError
from .console import console
from .verb import Verb

if TYPE_CHECKING:
    from ..transfer.transfer import Judge

_PATH = click.Path(path_type=Path)
#: What makes sense beside --from alone.
_OF_BASES = ("project", "directions", "clips", "report")
_OF_CLIPS = ("text_encoder", "tokenizer", "vae", "image_encoder")


@click.command(
    "transfer",
    cls=Verb,
    examples=(
        "lora-core transfer neon_style --from pocket:high_noise --to pocket:low_noise -o neon_low.safetensors",
        "lora-core transfer neon_style --from-quantized fp8 --to pocket:high_noise -o neon_mended.safetensors",
    ),
)
@click.argument("lora")
@click.option("--from", "source", help="The checkpoint that it was trained on.")
@click.option("--from-quantized", "rounding", metavar="nf4|fp8|int8", help="How --to was packed for the training.")
@click.option("--to", "target", required=True, help="The checkpoint that it shall act on.")
@click.option("--output", "-o", required=True, type=_PATH, help="The LoRA file.")
@click.option("--project", is_flag=True, help="Carry it into the new base's leading directions (ProLoRA).")
@click.option(
    "--directions", type=click.IntRange(min=1), default=16, show_default=True, help="How many of them, and compared."
)
@click.option("--clips", type=_PATH, help="Clips that judge it; --to is MODEL:EXPERT, or a model of one expert.")
@click.option("--text-encoder", type=_PATH, help="Of the model, to judge by clips.")
@click.option("--tokenizer", type=_PATH, help="Of the model, to judge by clips.")
@click.option("--vae", type=_PATH, help="Of the model, to judge by clips.")
@click.option("--image-encoder", type=_PATH, help="Of the model, to judge by clips.")
@click.option("--report", type=_PATH, help="Write what is known of every layer, JSON.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, mps or auto.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def command(
    lora: str,
    source: str | None,
    rounding: str | None,
    target: str,
    output: Path,
    project: bool,
    directions: int,
    clips: Path | None,
    report: Path | None,
    device: str,
    force: bool,
    **pieces: Path | None,
) -> None:
    """Put LORA, trained on one base, onto another of the same shapes: Wan 2.1 and 2.2, two experts, a fine-tune.

    Says layer by layer how alike the bases are and at which strength to begin. A LoRA of another size is refused: let
    the model it was made for steer instead, by generate --guide. With --from-quantized the bases are one and the same,
    rounded for the training, and what only mended the rounding is taken out.

    LORA is a file or the name of an embedded one; a base is a file, a folder, or MODEL:EXPERT.
    """
    from ..families.registry import checkpoint_named
    from ..files.write import write_lora
    from ..stack.finding import find_lora
    from ..transfer.correct import correct_lora
    from ..transfer.transfer import transfer_lora

    _check(click.get_current_context(), source, rounding, clips)
    for path in (output, *([] if report is None else [report])):
        if check_target(path).exists() and not force:
            raise OutputError(path, "exists already", remedy="Choose another name, or pass --force")
    file, base = find_lora(lora), checkpoint_named(target)
    if rounding is not None:
        with console().progress() as progress:
            mended = correct_lora(file, base, rounding, device=device, progress=progress)
        console().result(f"{write_lora(mended.weights, output)}: {mended.text()}")
        return
    assert source is not None, "_check has seen it"
    judge = None if clips is None else _judge(clips, target, device, pieces)
    with console().progress() as progress:
        done = transfer_lora(
            file,
            checkpoint_named(source),
            base,
            project=project,
            num_directions=directions,
            device=device,
            judge=judge,
            progress=progress,
        )
    written = write_lora(done.weights, output)
    if report is not None:
        write_text(json.dumps(done.to_dict(), indent=2) + "\n", report)
    console().result(f"{written}\n{done.text()}")


def _check(ctx: click.Context, source: str | None, rounding: str | None, clips: Path | None) -> None:
    """Refuse two ways at once, neither of them, and what does nothing in the way chosen."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if (source is None) == (rounding is None):
        what = "both --from and --from-quantized are given" if source else "there is no --from"
        raise ModelError(
            "transfer", what, expected="--from BASE, or --from-quantized nf4", remedy="Give one of the two"
        )
    idle = [name for name in _OF_BASES if name in given] if rounding is not None else []
    idle += [name for name in _OF_CLIPS if name in given] if clips is None else []
    if idle:
        where = "with --from-quantized" if rounding is not None and idle[0] in _OF_BASES else "without --clips"
        raise ModelError(f"--{idle[0].replace('_', '-')}", f"would do nothing {where}", remedy="Leave it out")


def _judge(clips: Path, target: str, device: str, pieces: dict[str, Path | None]) -> Judge:
    """Open the model of the new base, and let the clips judge."""
    from ..families.registry import expert_named, opener
    from ..transfer.judging import clips_judge

    named = expert_named(target)
    name, expert = named if named is not None else (target, "low_noise")
    model = opener(name)(name, device=device, **pieces)  # type: ignore[arg-type]  # a dictionary of paths
    if named is None and model.spec.num_experts == 2:
        remedy = "Name the model and its expert, as in MODEL:high_noise"
        raise ModelError("--to", f"{target} has two experts, and clips judge one", remedy=remedy)
    with console().progress() as progress:
        return clips_judge(clips, model, expert, progress=progress)
