"""The command `extract-cosmos`: the LoRA in a checkpoint of NVIDIA's post-training as a file of its own."""

from __future__ import annotations

from pathlib import Path

import click

from ..atomic import check_target
from ..errors import OutputError
from ..files.stated import StatedLora
from .console import console
from .stated_option import stated_options
from .verb import Verb

_DTYPES = ("float16", "bfloat16", "float32")


@click.command(
    "extract-cosmos",
    cls=Verb,
    examples=(
        "lora-core extract-cosmos examples/cosmos/iter_000002000.pt -o lora.safetensors --alpha 16",
        "lora-core extract-cosmos examples/cosmos/iter_000002000.pt -o averaged.safetensors --ema \\\n"
        "    --lora-rank 4 --lora-target-modules q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2",
    ),
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The LoRA file, .safetensors.")
@stated_options(short=True)
@click.option("--ema", is_flag=True, help="Take the moving average that the training kept, not the weights themselves.")
@click.option("--dtype", type=click.Choice(_DTYPES), help="Of the LoRA's tensors; as they were trained, if not given.")
@click.option("--model", help="A model that it must fit: a spec's name or a checkpoint; else the base inside.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(
    checkpoint: Path, output: Path, stated: StatedLora, ema: bool, dtype: str | None, model: str | None, force: bool
) -> None:
    """Write the LoRA inside CHECKPOINT, such as NVIDIA's iter_000002000.pt, and say what it changes.

    The base around it is never read. Rank, alpha and layers are the file's; what is stated and differs is an error.
    """
    import torch

    from ..families.registry import spec_named
    from ..files.post_trained import extract_post_trained
    from ..files.write import write_lora

    if check_target(output).exists() and not force:
        raise OutputError(output, "exists already", remedy="Choose another name, or pass --force")
    stored = None if dtype is None else getattr(torch, dtype)
    spec = None if model is None else spec_named(model)
    done = extract_post_trained(checkpoint, spec=spec, stated=stated, average=ema, dtype=stored)
    written = write_lora(done.weights, output)
    console().result(f"{written}: {len(done.weights.deltas)} layers\n{done.match.text()}")
