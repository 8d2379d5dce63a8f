"""The command `extract`: the difference of two checkpoints as a LoRA."""

from __future__ import annotations

from pathlib import Path

import click

from ..atomic import check_target
from ..errors import OutputError
from .console import console
from .verb import Verb

_DTYPES = ("float16", "bfloat16", "float32")


@click.command(
    "extract",
    cls=Verb,
    examples=("lora-core extract pocket:high_noise pocket:low_noise -o low_minus_high.safetensors --rank 16",),
)
@click.argument("base")
@click.argument("tuned")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The LoRA file.")
@click.option("--rank", type=click.IntRange(min=1), default=32, show_default=True, help="Its rank.")
@click.option("--dtype", type=click.Choice(_DTYPES), default="float16", show_default=True, help="Of its tensors.")
@click.option("--with-biases", is_flag=True, help="Keep the changes of biases, norms and tables too, in full.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, mps or auto.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(
    base: str, tuned: str, output: Path, rank: int, dtype: str, with_biases: bool, device: str, force: bool
) -> None:
    """Write the LoRA that takes the checkpoint BASE nearest to TUNED, and say how much of the change it loses.

    Both are files or folders of weights of one architecture, or MODEL:EXPERT for an expert of a whole model.
    """
    import torch

    from ..families.registry import checkpoint_named
    from ..files.extract import extract_checkpoints
    from ..files.write import write_lora

    if check_target(output).exists() and not force:
        raise OutputError(output, "exists already", remedy="Choose another name, or pass --force")
    first, second = checkpoint_named(base), checkpoint_named(tuned)
    stored = getattr(torch, dtype)
    with console().progress() as progress:
        done = extract_checkpoints(
            first, second, rank, dtype=stored, with_biases=with_biases, device=device, progress=progress
        )
    written = write_lora(done.weights, output)
    console().result(f"{written}: {len(done.weights.deltas)} targets, rank {rank}\n{done.text()}")
