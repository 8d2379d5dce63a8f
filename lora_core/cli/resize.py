"""The command `resize`: a LoRA made smaller."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..atomic import write_text
from .console import console
from .lora_option import LoraPath
from .merge_options import MergeOptions, base_named, merge_options
from .verb import Verb

_PATH = click.Path(path_type=Path)


@click.command(
    "resize",
    cls=Verb,
    examples=(
        "lora-core resize neon_style -o neon_rank4.safetensors --rank 4",
        "lora-core resize neon_style -o neon_small.safetensors --energy 0.95 --dtype bfloat16",
    ),
)
@click.argument("lora", type=LoraPath())
@click.option("--model", help="The model whose weights a DoRA depends on: pocket, a folder, or the high expert's file.")
@click.option("--output", "-o", required=True, type=_PATH, help="The LoRA file.")
@merge_options
def command(lora: Path, model: str | None, output: Path, merge_options: MergeOptions) -> None:
    """Write the LoRA of fewer ranks that is nearest to LORA, and say how much that loses.

    One of --rank, --energy and --size says how small. LoHa, LoKr, DoRA and differences in full become LoRAs.
    """
    from ..files.read import read_lora
    from ..merging.resize import resize_lora

    recipe = merge_options.recipe(method="svd")
    merge_options.check(output)
    weights = read_lora(lora, allow_partial=merge_options.allow_partial)
    with console().progress() as progress:
        resized = resize_lora(weights, recipe, base=base_named(model), progress=progress)
    written = resized.write(output, dialect=merge_options.dialect)
    if merge_options.report is not None:
        write_text(json.dumps(resized.made.to_dict(), indent=2) + "\n", merge_options.report)
    console().result(f"{written}: {resized.text(layers=merge_options.layers)}")
