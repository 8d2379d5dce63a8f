"""The commands on stack files: `stack check` and `stack pin`."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import click

from ..atomic import check_target, is_stdout
from ..errors import LoraCoreError
from ..families.base import ModelSpec
from ..families.registry import spec_named, spec_names
from ..plan.report import report_on_stack
from ..plan.routing import route
from ..stack.entry import LoraEntry
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from .console import console
from .options import StackOptions, stack_options


@click.group("stack")
def command() -> None:
    """Check and pin stack files."""


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", default=spec_names()[0], show_default=True, help="A spec's name, pocket, or a checkpoint.")
@click.option("--lora-folder", "lora_folders", multiple=True, type=click.Path(path_type=Path), help="Where LoRAs lie.")
@click.option("--no-verify", is_flag=True, help="Take LoRAs that changed since the preset was written.")
@click.pass_context
def check(ctx: click.Context, file: Path, model: str, lora_folders: tuple[Path, ...], no_verify: bool) -> None:
    """Read every LoRA of a stack FILE and say what of it fits the model, and what looks wrong.

    Ends with exit code 1 if any LoRA would be refused.
    """
    spec = spec_named(model)
    stack = LoraStack.read_preset(file, lora_folders, verify=not no_verify)
    checked = [_check_entry(entry, spec) for entry in stack]
    loaded = [found for found in checked if found is not None]
    if len(loaded) == len(checked):
        whole = reduce(LoadedStack.joined, loaded, load_stack(LoraStack(), spec))
        for advice in route(whole, spec).advice:
            console().result(str(advice))
    ctx.exit(0 if len(loaded) == len(checked) else 1)


@command.command("pin")
@stack_options
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="The preset to write, JSON.")
def pin(lora_options: StackOptions, out: Path) -> None:
    """Write a stack as a preset that knows each LoRA by its sha256."""
    if not is_stdout(out):
        check_target(out)
    written = lora_options.stack().write_preset(out, lora_options.lora_folders)
    if not is_stdout(out):
        console().result(str(written))


def _check_entry(entry: LoraEntry, spec: ModelSpec) -> LoadedStack | None:
    """Print what becomes of one LoRA alone on the model; return it loaded, or None where it is refused."""
    try:
        loaded = load_stack(LoraStack((entry,)), spec)
        routed = route(loaded, spec)
    except LoraCoreError as error:
        console().result(f"{entry.name}: refused\n  {error}")
        return None
    for row in report_on_stack(loaded, routed).rows:
        console().result(row.text())
    return loaded
