"""The commands on stack files: `stack check` and `stack pin`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import LoraCoreError
from ..families.base import ModelSpec
from ..plan.report import report_on_stack
from ..plan.routing import route
from ..stack.entry import LoraEntry
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from .console import console
from .models import known_spec
from .options import StackOptions, stack_options


@click.group("stack")
def command() -> None:
    """Check and pin stack files."""


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", default="wan2.2-t2v-a14b", show_default=True, help="A spec's name, pocket, or a checkpoint.")
@click.option("--lora-folder", "lora_folders", multiple=True, type=click.Path(path_type=Path), help="Where LoRAs lie.")
@click.option("--no-verify", is_flag=True, help="Take LoRAs that changed since the preset was written.")
@click.pass_context
def check(ctx: click.Context, file: Path, model: str, lora_folders: tuple[Path, ...], no_verify: bool) -> None:
    """Read every LoRA of a stack FILE and say what of it fits the model, and what looks wrong.

    Ends with exit code 1 if any LoRA would be refused.
    """
    spec = known_spec(model)
    stack = LoraStack.read_preset(file, lora_folders, verify=not no_verify)
    errors = [error for entry in stack if (error := _check_entry(entry, spec)) is not None]
    if not errors:
        for advice in route(stack, spec).advice:
            console().result(str(advice))
    ctx.exit(1 if errors else 0)


@command.command("pin")
@stack_options
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="The preset to write, JSON.")
def pin(lora_options: StackOptions, out: Path) -> None:
    """Write a stack as a preset that knows each LoRA by its sha256."""
    console().result(str(lora_options.stack().write_preset(out, lora_options.lora_folders)))


def _check_entry(entry: LoraEntry, spec: ModelSpec) -> LoraCoreError | None:
    """Print what becomes of one LoRA alone on the model; return the error that would refuse it."""
    try:
        loaded = load_stack(LoraStack((entry,)), spec)
        routed = route(loaded, spec)
    except LoraCoreError as error:
        console().result(f"{entry.name}: refused\n  {error}")
        return error
    for row in report_on_stack(loaded, routed).rows:
        console().result(row.text())
    return None
