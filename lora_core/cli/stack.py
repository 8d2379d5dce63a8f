"""The commands on stack files: `stack check` and `stack pin`."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..atomic import check_target, is_stdout
from ..errors import LoraCoreError
from ..stack.stack import LoraStack
from .console import console
from .options import StackOptions, download_option, partial_option, spec_option, stack_options
from .verb import Verb

if TYPE_CHECKING:
    from ..families.base import ModelSpec
    from ..stack.entry import LoraEntry
    from ..stack.loaded import LoadedStack


_PIN = "lora-core stack pin --lora speed_6steps --lora neon_style:0.8 -o preset.json"


@click.group("stack")
def command() -> None:
    """Check and pin stack files."""


@command.command(
    "check",
    cls=Verb,
    examples=(_PIN, "lora-core stack check preset.json --model pocket"),
)
@click.argument("file", type=click.Path(path_type=Path))
@spec_option
@click.option("--lora-folder", "lora_folders", multiple=True, type=click.Path(path_type=Path), help="Where LoRAs lie.")
@click.option("--no-verify", is_flag=True, help="Take LoRAs that changed since the preset was written.")
@download_option
@partial_option
@click.pass_context
def check(
    ctx: click.Context,
    file: Path,
    model: str,
    lora_folders: tuple[Path, ...],
    no_verify: bool,
    download: bool,
    allow_partial: bool,
) -> None:
    """Read every LoRA of a stack FILE and say what of it fits the model, and what looks wrong.

    Ends with exit code 1 if any LoRA would be refused.
    """
    from ..families.registry import spec_named
    from ..plan.report import SAID_BY_ROWS, report_on_stack
    from ..plan.routing import route
    from ..stack.loaded import LoadedStack
    from ..stack.loading import load_stack

    spec = spec_named(model)
    stack = LoraStack.read_preset(file, lora_folders, verify=not no_verify, download=download)
    checked = [_load(entry, spec, allow_partial) for entry in stack]
    loaded = [found for found in checked if found is not None]
    whole = reduce(LoadedStack.joined, loaded, load_stack(LoraStack(), spec))
    routed = route(whole, spec)
    for row in report_on_stack(whole, routed).rows:
        console().result(row.text())
    for advice in routed.advice:
        if advice.rule not in SAID_BY_ROWS:
            console().result(str(advice))
    ctx.exit(0 if len(loaded) == len(checked) else 1)


@command.command("pin", cls=Verb, examples=(_PIN,))
@stack_options
@click.option(
    "--out",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="The preset to write, JSON; - for the standard output.",
)
def pin(lora_options: StackOptions, out: Path) -> None:
    """Write a stack as a preset that knows each LoRA by its sha256."""
    if not is_stdout(out):
        check_target(out)
    written = lora_options.stack().write_preset(out, lora_options.lora_folders)
    if not is_stdout(out):
        console().result(str(written))


def _load(entry: LoraEntry, spec: ModelSpec, allow_partial: bool) -> LoadedStack | None:
    """Return one LoRA alone, loaded for the model, or say why it is refused and return None."""
    from ..plan.routing import route
    from ..stack.loading import load_stack

    try:
        loaded = load_stack(LoraStack((entry,)), spec, allow_partial=allow_partial)
        route(loaded, spec)
    except LoraCoreError as error:
        console().result(f"{entry.name}: refused\n  {error}")
        return None
    return loaded
