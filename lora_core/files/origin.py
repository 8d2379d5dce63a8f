"""The model a LoRA file was made for, as far as its names tell it: one of a known family, or a foreign one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..families import registry
from ..families.base import ModelSpec
from ..families.family import Family
from .dialects import label_all, split_leaf

#: (regular expression on a module path with underscores for dots, the model that alone has such a name), the most
#: telling first: a name of one model outweighs any number that several share.
FOREIGN: tuple[tuple[str, str], ...] = (
    (r"(^|_)token_refiner_", "HunyuanVideo"),  # native `individual_token_refiner`, diffusers' `token_refiner`
    (r"^joint_transformer_blocks_", "AuraFlow"),
    (r"^single_transformer_blocks_", "Flux or HunyuanVideo"),
    (r"^(double|single)_blocks_", "Flux or HunyuanVideo"),
    (r"^joint_blocks_", "Stable Diffusion 3"),
    (r"^(context|noise)_refiner_", "Z-Image or Lumina 2"),
    (r"^transformer_blocks_\d+_(img|txt)_(mod|mlp)_", "Qwen-Image"),
    (r"^transformer_blocks_\d+_attn1_add_|_attn_qkv_[xy]$", "Mochi"),
    (
        r"^transformer_blocks_\d+_(attn|ff_context|norm1_context)_",
        "HunyuanVideo, Flux, Qwen-Image or Stable Diffusion 3",
    ),
    (r"^(input|output|middle)_block(s)?_\d|^(down|up)_blocks_\d|^mid_block_", "Stable Diffusion or SDXL"),
    (r"^lora_te2_", "SDXL"),
    (r"text_model_encoder_layers_", "a CLIP text encoder"),
    (r"(^|_)layers_\d+_(self_attn_[qkvo]|mlp_(gate|up|down))_proj$", "a language model"),
    (r"^caption_projection_", "LTX-Video or PixArt"),
    (r"^transformer_blocks_\d+_attn[12]_", "LTX-Video, CogVideoX or PixArt"),
    (r"^transformer_blocks_\d", "another diffusion transformer"),
)


#: How many names are looked at to tell a family by.
_NUM_ASKED = 64


def foreign_model(names: Iterable[str], family: Family | None) -> str:
    """Return the model outside `family` that these tensor names are told by, or ""."""
    names = list(names)
    other = next(
        (other for other in registry.FAMILIES if other is not family and _share(names, other.grammar()) > 0.25), None
    )
    told = _told_by_rows(names, family, (*(family.origin.relatives if family else ()), *FOREIGN))
    if other is None or other.title in told:
        return told
    return f"{other.title}{', ' if ' or ' in told else ' or '}{told}" if told else other.title


def namesakes(names: Iterable[str], family: Family | None) -> str:
    """Return the models outside all families whose modules have names such as those of a family's LoRA, or ""."""
    return _told_by_rows(names, family, FOREIGN)


def _told_by_rows(names: Iterable[str], family: Family | None, rows: tuple[tuple[str, str], ...]) -> str:
    grammar = ModelSpec("", "", {}, family=family.name if family else "")
    modules = {label.place.module.replace(".", "_") for label in label_all(names, grammar)}
    return next((model for sign, model in rows if any(re.search(sign, module) for module in modules)), "")


def relative_of(module: str, family: Family | None) -> str:
    """Return the relative of the family that alone has a module of this name, or ""."""
    rows = family.origin.relatives if family else ()
    return next((model for sign, model in rows if re.search(sign, module.replace(".", "_"))), "")


def grammar_of(names: Iterable[str]) -> ModelSpec:
    """Return the grammar of the family that knows most of these tensor names, the first family's if none does."""
    everything = list(names)
    names = [name for name in everything if split_leaf(name)[1] is not None] or everything
    grammars = [family.grammar() for family in registry.FAMILIES]
    return max(grammars, key=lambda grammar: _share(names, grammar)) if len(grammars) > 1 else grammars[0]


def _share(names: list[str], grammar: ModelSpec) -> float:
    """Return which share of the names, of as many as are looked at, has a target in a grammar."""
    asked = names[:: max(1, len(names) // _NUM_ASKED)]
    return sum(label.target is not None and grammar.has(label.target) for label in label_all(asked, grammar)) / max(
        1, len(asked)
    )


def clues_of(path: Path | None, metadata: Mapping[str, str]) -> list[str]:
    """Return the texts of a file that may name its model.

    `modelspec.architecture` is not one of them: musubi-tuner writes "wan2.1" there whatever the model.
    """
    keys = ("base", "base_model", "ss_base_model_version", "ss_sd_model_name", "ss_output_name")
    names = [path.stem, path.parent.name] if path else [""]
    return [names[0], *(metadata[key] for key in keys if key in metadata), *names[1:]]
