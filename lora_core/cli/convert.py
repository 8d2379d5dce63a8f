"""The command `convert`: a LoRA file in another dialect."""

from __future__ import annotations

from pathlib import Path

import click

from ..atomic import check_target
from ..errors import OutputError
from ..experts import EXPERTS
from ..files.dialects import DIALECTS
from .console import console
from .lora_option import LoraPath
from .verb import Verb


@click.command(
    "convert",
    cls=Verb,
    examples=("lora-core convert neon_style neon_high_noise.safetensors --to kohya",),
)
@click.argument("source", type=LoraPath())
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--to", "dialect", type=click.Choice(DIALECTS), default="comfyui", show_default=True, help="The dialect.")
@click.option("--expert", type=click.Choice(EXPERTS), help="Of a file of both experts, write only this one's half.")
@click.option("--allow-partial", is_flag=True, help="Leave out tensors that no model of the family has a place for.")
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
def command(source: Path, target: Path, dialect: str, expert: str | None, allow_partial: bool, force: bool) -> None:
    """Write the LoRA SOURCE, a file or an embedded one, to TARGET in another dialect.

    It is read back and compared before it counts.
    """
    from ..files.read import read_lora
    from ..files.write import write_lora

    if check_target(target).exists() and not force:
        raise OutputError(target, "exists already", remedy="Choose another name, or pass --force")
    weights = read_lora(source, allow_partial=allow_partial)
    if expert is not None:
        weights = weights.only(expert)  # type: ignore[arg-type]  # one of EXPERTS
    written = write_lora(weights, target, dialect=dialect)  # type: ignore[arg-type]  # one of DIALECTS
    console().result(f"{written}: {len(weights.deltas)} targets from {weights.dialect} to {dialect}")
    if left_out := weights.account.count("unmatched") + weights.account.count("wrong_shape"):
        console().note(f"note: {left_out} tensors of {source.name} were left out")
