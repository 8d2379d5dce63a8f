"""The recipe of a cell: the command of the shell that makes its clip again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..attention.settings import RadialSettings
from ..checks import number_text
from ..engine.record import radial_from_record
from ..engine.request import GenerationRequest
from ..families.opened import OpenedModel

#: What a single run's options are called: field of the request -> (option, how its value is written).
_OPTIONS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "negative_prompt": ("--negative", str),
    "num_steps": ("--steps", str),
    "shift": ("--shift", number_text),
    "schedule": ("--schedule", str),
    "sigmas": ("--sigmas", lambda levels: ", ".join(map(number_text, levels))),
    "boundary": ("--boundary", lambda level: "none" if level is None else str(level)),
    "cfg": ("--cfg", lambda cfg: ",".join(map(number_text, cfg)) if isinstance(cfg, list) else number_text(cfg)),
    "embedded_guidance": ("--embedded-guidance", number_text),
    "solver": ("--solver", str),
    "seed": ("--seed", str),
    "num_frames": ("--frames", str),
    "fps": ("--fps", number_text),
    "image": ("--image", lambda row: row["path"]),
    "last_image": ("--last-image", lambda row: row["path"]),
}
#: Fields that say something else than the option's default, where they are as they are.
_ALWAYS = ("num_frames", "fps", "seed", "num_steps")
_NETWORKS = ("high", "transformer", "low")
_PIECES = ("text_encoder", "tokenizer", "vae", "image_encoder")


def command_of(record: Mapping[str, Any], stack_file: Path, clip: Path, model: Sequence[str]) -> str | None:
    """Return the line that makes a cell's clip again, or None where the shell cannot say it.

    Args:
        record: the cell's.
        stack_file: where its LoRAs are written.
        clip: where it is written to.
        model: the words that open the model.
    """
    row = record["request"]
    if row.get("first_frames") is not None or row.get("sigma_conditioning") is not None:
        return None
    if any(row.get(name) is not None and row[name].get("path") is None for name in ("image", "last_image")):
        return None
    if any("path" not in lora for lora in record["loras"]):
        return None
    words = ["lora-core", "generate", *model, "-p", row["prompt"]]
    usual = {field.name: field.default for field in fields(GenerationRequest)}
    skipped = ("num_steps", "shift", "schedule", "denoise") if row["sigmas"] is not None else ()
    for name, (option, write) in _OPTIONS.items():
        value = row.get(name)
        is_usual = name not in _ALWAYS and value == usual[name]
        if name not in skipped and not is_usual:
            words += [option, write(value)]
    words += ["--size", f"{row['width']}x{row['height']}"]
    if record["loras"]:
        words += ["--stack", str(stack_file)]
    if (radial := radial_from_record(record)) is not None:
        words += ["--radial", _radial_text(radial)]
    return shlex.join([*words, "--scale", str(record["scale"]), "-o", str(clip), "--json", f"{clip}.json"])


def _radial_text(settings: RadialSettings) -> str:
    """Return settings as `--radial` reads them."""
    dense = settings.dense
    parts = {
        "decay": settings.decay,
        "first": dense.first_steps,
        "last": dense.last_steps,
        "blocks": dense.first_blocks,
        "block_size": settings.block_size,
        "executor": settings.executor,
    }
    return ",".join(f"{name}={value}" for name, value in parts.items() if value is not None)


def model_words(model: OpenedModel) -> list[str]:
    """Return the words that open a model by its files, where nobody says how it was opened."""
    dtype = ["--dtype", str(model.dtype).removeprefix("torch.")]
    first = next(path for piece in _NETWORKS if (path := model.files.get(piece)) is not None)
    if (first.parent / "model_index.json").is_file():
        return ["--model", str(first.parent), *dtype]
    words = ["--model", str(first)]
    if first != (low := model.files.get("low", first)):
        words += ["--low-noise", str(low)]
    for piece in _PIECES:
        if (path := model.files.get(piece)) is not None:
            words += [f"--{piece.replace('_', '-')}", str(path)]
    return [*words, *dtype]
