"""The model a LoRA file was made for, as far as its shapes and names tell it: a Wan of some size, or a foreign one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Width of a Wan transformer -> its size.
WAN_SIZES: Mapping[int, str] = {1536: "1.3B", 3072: "5B", 5120: "14B"}

#: Input channels of a patch embedding -> whose they are.
PATCH_CHANNELS: Mapping[int, str] = {16: "text-to-video", 36: "image-to-video", 48: "Wan 2.2 5B"}

#: Module of a block -> the axis of its weight that is the transformer's width.
_WIDTH_AXES: Mapping[str, int] = {
    **{f"{attention}.{part}": 0 for attention in ("self_attn", "cross_attn") for part in "qkvo"},
    "ffn.0": 1,
    "ffn.2": 0,
}

#: The published model of a size that has only one.
_SINGLE: Mapping[str, str] = {"1.3B": "wan2.1-t2v-1.3b", "5B": "wan2.2-ti2v-5b"}

#: (flattened part of a tensor's name, the model it is typical of), the most telling first.
FOREIGN: tuple[tuple[str, str], ...] = (
    ("vace_blocks_", "Wan VACE, whose control blocks this model does not have"),
    ("audio_injector", "Wan S2V, whose audio blocks this model does not have"),
    ("face_adapter", "Wan Animate, whose face blocks this model does not have"),
    ("motion_encoder", "Wan Animate, whose face blocks this model does not have"),
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


def foreign_model(names: Iterable[str]) -> str:
    """Return which other model most of these tensor names are typical of, or ""."""
    votes: Counter[str] = Counter()
    names = list(names)
    for name in names:
        flat = name.replace(".", "_")
        votes.update(model for sign, model in FOREIGN if sign in flat)
    ordered = [model for _, model in FOREIGN if votes[model] * 4 >= len(names)]
    return ordered[0] if ordered else ""


def wan_width(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the width of the transformer that deltas of these shapes belong to, or None when no shape tells it."""
    widths: Counter[int] = Counter()
    for target, shape in shapes.items():
        axis = _WIDTH_AXES.get(target.split(".", 2)[-1])
        if axis is not None and axis < len(shape):
            widths[shape[axis]] += 1
    return widths.most_common(1)[0][0] if widths else None


def base_hint(
    width: int | None, *, image_branch: bool, in_channels: int | None, has_expert: bool, clues: Iterable[str]
) -> str | None:
    """Return the name of the published Wan that a file fits, as much of it as can be told.

    `wan2.1-t2v-1.3b`, `wan2.2-ti2v-5b` and `wan2.1-i2v-14b` follow from shapes and names alone. For the other 14B
    models the answer is a whole name such as `wan2.2-i2v-a14b`, or `wan2.2-14b`, `wan2.1-14b`, `wan-14b`.

    Args:
        width: the transformer's width.
        image_branch: True when the file touches what only Wan 2.1 I2V has.
        in_channels: input channels of its patch embedding, if it touches that (36 is I2V's).
        has_expert: True when it is meant for one noise expert, which only Wan 2.2 has.
        clues: texts that may name the model: the file's name, entries of its metadata.
    """
    size = WAN_SIZES.get(width or 0)
    if size is None or size in _SINGLE:
        return _SINGLE.get(size or "")
    if image_branch:
        return "wan2.1-i2v-14b"
    text = " ".join(clues).lower()
    told = re.search(r"wan[\s._-]*(?:video[\s._-]*)?2[._-]?([12])(?!\d)", text)
    generation = "2.2" if has_expert else f"2.{told[1]}" if told else ""
    task = "i2v" if in_channels == 36 else next(iter(re.findall(r"[it]2v", text)), "")
    if not generation or not task:
        return f"wan{generation}-14b"
    return f"wan2.1-{task}-14b" if generation == "2.1" else f"wan2.2-{task}-a14b"


def clues_of(path: Path | None, metadata: Mapping[str, str]) -> list[str]:
    """Return the texts of a file that may name its model.

    `modelspec.architecture` is not one of them: musubi-tuner writes "wan2.1" there whatever the model.
    """
    keys = ("base", "base_model", "ss_base_model_version", "ss_sd_model_name", "ss_output_name")
    return [path.stem if path else "", *(metadata[key] for key in keys if key in metadata)]
