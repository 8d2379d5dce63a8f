"""The HunyuanVideo a LoRA file was made for, as far as its shapes and names tell it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from ...experts import Expert
from ..family import LoraTraits, Origin, Shape, Shapes

#: Width of a transformer -> what its house calls it.
_SIZES: Mapping[int, str] = {3072: "HunyuanVideo", 2048: "HunyuanVideo 1.5"}

#: (regular expression on a target, the axis of its weight that is the transformer's width).
_WIDTH_AXES: tuple[tuple[str, int], ...] = (
    (r"_attn\.(q|k|v|qkv|proj)$|\.linear1(\.\w+)?$|_mlp\.0$|_mod\.lin$|\.modulation\.lin$", 1),
    (r"_mlp\.2$|\.linear2$", 0),
)

#: (regular expression on a module path with underscores for dots, the relative that alone has such a name).
_RELATIVES: tuple[tuple[str, str], ...] = (
    (r"^(cond_type_embed|vision_in_|byt5_in_|context_embedder_2_)", "HunyuanVideo 1.5"),
    (r"^(double|transformer)_blocks_[2-5]\d_", "HunyuanVideo 1.5 or another model with more double blocks"),
    (r"^(clean_x_embedder|image_projection)_", "FramePack"),
)

#: What HunyuanVideo has and Flux, whose blocks have the same names and width, does not.
_NOT_FLUX = re.compile(r"^(double_blocks\.19|single_blocks\.3[89])\.|token_refiner")


def width(shapes: Shapes) -> int | None:
    """Return the width of the transformer that deltas of these shapes belong to, or None when no shape tells it."""
    widths: Counter[int] = Counter()
    for target, shape in shapes.items():
        axis = next((axis for pattern, axis in _WIDTH_AXES if re.search(pattern, target)), None)
        if axis is not None and axis < len(shape):
            widths[shape[axis]] += 1
    return widths.most_common(1)[0][0] if widths else None


def size(width: int) -> str:
    """Return what a model of this width is called, or ""."""
    return _SIZES.get(width, "")


def base(traits: LoraTraits) -> str | None:
    """Return the name of the published model that a file fits, of both houses where it may be one of Flux too."""
    told = re.search(r"hunyuan|hyvid", " ".join(traits.clues).lower())
    if told or any(_NOT_FLUX.search(target) for target in traits.targets):
        return "hunyuan-video" if width(traits.shapes) == 3072 else None
    return "Flux or HunyuanVideo" if traits.targets else None


def expert_of_timesteps(lowest: float, highest: float) -> Expert | None:
    """Return None: there is one expert."""
    return None


def whose_shape(target: str, shape: Shape) -> str:
    """Return which published model has a first layer of this shape, or ""."""
    channels = {16: "text-to-video", 33: "image-to-video", 32: "SkyReels image-to-video"}
    return channels.get(shape[1], "") if target == "img_in.proj" and len(shape) > 1 else ""


def unsupported(target: str, kind: str, shape: Shape, wanted: Shape) -> str:
    """Return that a LoRA widens the first layer, as control LoRAs do, or ""."""
    if target != "img_in.proj" or kind != "lora" or len(shape) < 2 or whose_shape(target, shape):
        return ""
    return f"its img_in.proj takes {shape[1]} input channels" if shape[1:2] != wanted[1:2] else ""


ORIGIN = Origin(_RELATIVES, width, size, base, expert_of_timesteps, whose_shape, unsupported)
