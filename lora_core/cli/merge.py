"""The command `merge`: a stack of LoRAs made one file, or a pair."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..atomic import write_text
from ..stack.stack import LoraStack
from .console import console
from .lora_option import LORA_FORM, complete_lora
from .merge_options import MergeOptions, base_named, merge_options, method_options
from .options import StackOptions, spec_option
from .verb import Verb

_PATH = click.Path(path_type=Path)


@click.command(
    "merge",
    cls=Verb,
    examples=(
        "lora-core merge speed_6steps neon_style:0.8 --model pocket -o fast_neon.safetensors",
        "lora-core merge zibbo_character neon_style orbit_motion --model pocket -o three.safetensors --rank 16",
        "lora-core merge zibbo_character neon_style --model pocket -o half.safetensors --size 400KB --layers",
    ),
)
@click.argument("loras", nargs=-1, required=True, metavar=f"STACK|{LORA_FORM}...", shell_complete=complete_lora)
@spec_option
@click.option(
    "--output", "-o", required=True, type=_PATH, help="The file; of a pair, with each expert behind its name."
)
@method_options
@merge_options
@click.option(
    "--lora-folder", "lora_folders", multiple=True, type=_PATH, help="Where LoRAs lie; paths that leave it are refused."
)
@click.option("--refuse-schedules", is_flag=True, help="Refuse a row with a schedule instead of taking its strength.")
def command(
    loras: tuple[str, ...],
    model: str,
    output: Path,
    method: str | None,
    density: float | None,
    seed: int | None,
    merge_options: MergeOptions,
    lora_folders: tuple[Path, ...],
    refuse_schedules: bool,
) -> None:
    """Write LoRAs, each at its strength, as one file that acts as they do together.

    They are those of a stack file (JSON), or given one by one. Without --rank, --energy or --size the file holds all of
    them side by side, which is exact. A pair is written where the two experts of a model get different changes.
    """
    from ..families.registry import spec_named
    from ..merging.merge import merge_loras, output_experts
    from ..merging.merged import output_paths
    from ..stack.loading import load_stack

    recipe = merge_options.recipe(method=method, density=density, seed=seed)
    spec = spec_named(model)
    stack, partial = _stack(loras, lora_folders), merge_options.allow_partial
    loaded = load_stack(stack, spec, lora_folders=lora_folders, allow_partial=partial)
    for path in output_paths(output, output_experts(loaded) or (None,), merge_options.dialect):
        merge_options.check(path)
    with console().progress() as progress:
        merged = merge_loras(
            loaded,
            recipe=recipe,
            schedules="refuse" if refuse_schedules else "strength",
            base=base_named(model),
            progress=progress,
        )
    files = merged.write(output, dialect=merge_options.dialect)
    if merge_options.report is not None:
        write_text(json.dumps(merged.to_dict(), indent=2) + "\n", merge_options.report)
    console().result("\n".join([*map(str, files), merged.text(layers=merge_options.layers)]))


def _stack(texts: tuple[str, ...], lora_folders: tuple[Path, ...]) -> LoraStack:
    """Return the rows of stack files and the LoRAs given one by one, in their order."""
    options = StackOptions(texts, None, lora_folders, no_verify=False, download=False)
    stack = LoraStack()
    for text in texts:
        if text.lower().endswith(".json"):
            stack = stack.joined(LoraStack.read_preset(text, lora_folders))
        else:
            stack = options.with_loras(stack, [text])
    return stack
