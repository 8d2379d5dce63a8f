"""The model a LoRA file was made for, as far as its names tell it: one of a known family, or a foreign one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..families import registry
from ..families.base import ModelSpec
from ..families.family import Family
from .dialects import label_all

#: (flattened part of a tensor's name, the model of no family here that it is typical of), the most telling first.
FOREIGN: tuple[tuple[str, str], ...] = (
    ("individual_token_refiner", "HunyuanVideo"),
    ("single_transformer_blocks_", "Flux"),
    ("double_blocks_", "Flux or HunyuanVideo"),
    ("single_blocks_", "Flux or HunyuanVideo"),
    ("joint_transformer_blocks", "Mochi or Lumina"),
    ("joint_blocks_", "Stable Diffusion 3"),
    ("context_refiner", "Z-Image or Lumina 2"),
    ("noise_refiner", "Z-Image or Lumina 2"),
    ("txt_mod", "Qwen-Image"),
    ("transformer_blocks_0_attn_add_q_proj", "Qwen-Image or Stable Diffusion 3"),
    ("lora_te2_", "SDXL"),
    ("input_blocks_", "Stable Diffusion or SDXL"),
    ("output_blocks_", "Stable Diffusion or SDXL"),
    ("down_blocks_", "Stable Diffusion or SDXL"),
    ("mid_block_", "Stable Diffusion or SDXL"),
    ("up_blocks_", "Stable Diffusion or SDXL"),
    ("text_model_encoder_layers", "a CLIP text encoder"),
    ("self_attn_q_proj", "a language model"),
    ("self_attn_v_proj", "a language model"),
    ("mlp_gate_proj", "a language model"),
    ("mlp_up_proj", "a language model"),
    ("caption_projection", "LTX-Video or PixArt"),
    ("transformer_blocks_", "another diffusion transformer (LTX-Video, CogVideoX, Qwen-Image)"),
)


#: How many names are looked at to tell a family by.
_NUM_ASKED = 64


def foreign_model(names: Iterable[str], family: Family | None) -> str:
    """Return which model outside `family` most of these tensor names are typical of, or ""."""
    names = list(names)
    other = next(
        (other for other in registry.FAMILIES if other is not family and _share(names, other.grammar()) > 0.25), None
    )
    if other is not None:
        return other.title
    rows = (*(family.origin.relatives if family else ()), *FOREIGN)
    votes: Counter[str] = Counter()
    for name in names:
        flat = name.replace(".", "_")
        votes.update(model for sign, model in rows if sign in flat)
    ordered = [model for _, model in rows if votes[model] * 4 >= len(names)]
    return ordered[0] if ordered else ""


def grammar_of(names: Iterable[str]) -> ModelSpec:
    """Return the grammar of the family that knows most of these tensor names, the first family's if none does."""
    names = list(names)
    grammars = [family.grammar() for family in registry.FAMILIES]
    return max(grammars, key=lambda grammar: _share(names, grammar)) if len(grammars) > 1 else grammars[0]


def _share(names: list[str], grammar: ModelSpec) -> float:
    """Return which share of the names, of as many as are looked at, has a target in a grammar."""
    asked = names[:: max(1, len(names) // _NUM_ASKED)]
    return sum(label.target in grammar.shapes for label in label_all(asked, grammar)) / max(1, len(asked))


def clues_of(path: Path | None, metadata: Mapping[str, str]) -> list[str]:
    """Return the texts of a file that may name its model.

    `modelspec.architecture` is not one of them: musubi-tuner writes "wan2.1" there whatever the model.
    """
    keys = ("base", "base_model", "ss_base_model_version", "ss_sd_model_name", "ss_output_name")
    names = [path.stem, path.parent.name] if path else [""]
    return [names[0], *(metadata[key] for key in keys if key in metadata), *names[1:]]
