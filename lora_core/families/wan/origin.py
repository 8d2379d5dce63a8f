"""The Wan a LoRA file was made for, as far as its shapes and names tell it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from ...experts import Expert
from ..family import LoraTraits, Origin, Shape, Shapes

#: Width of a Wan transformer -> its size.
_SIZES: Mapping[int, str] = {1536: "1.3B", 3072: "5B", 5120: "14B"}

#: Input channels of a patch embedding -> whose they are.
_PATCH_CHANNELS: Mapping[int, str] = {16: "text-to-video", 36: "image-to-video", 48: "Wan 2.2 5B"}

#: Module of a block -> the axis of its weight that is the transformer's width.
_WIDTH_AXES: Mapping[str, int] = {
    **{f"{attention}.{part}": 0 for attention in ("self_attn", "cross_attn") for part in "qkvo"},
    "self_attn.qkv": 1,
    "cross_attn.kv": 1,
    "ffn.0": 1,
    "ffn.2": 0,
}

#: The published model of a size that has only one.
_SINGLE: Mapping[str, str] = {"1.3B": "wan2.1-t2v-1.3b", "5B": "wan2.2-ti2v-5b"}

#: Above this, the lower end of a timestep range (0 to 1000) is the high expert's; below, the upper end is the low's.
_MIN_HIGH_TIMESTEP = 800
_MAX_LOW_TIMESTEP = 925

#: (regular expression on a module path with underscores for dots, the relative of Wan that alone has such a name).
_RELATIVES: tuple[tuple[str, str], ...] = (
    (r"(^|_)vace_", "Wan VACE, whose control blocks this model does not have"),
    (r"(^|_)audio_injector_", "Wan S2V, whose audio blocks this model does not have"),
    (r"(^|_)(face_adapter|motion_encoder)_", "Wan Animate, whose face blocks this model does not have"),
)


def width(shapes: Shapes) -> int | None:
    """Return the width of the transformer that deltas of these shapes belong to, or None when no shape tells it."""
    widths: Counter[int] = Counter()
    for target, shape in shapes.items():
        axis = _WIDTH_AXES.get(target.split(".", 2)[-1])
        if axis is not None and axis < len(shape):
            widths[shape[axis]] += 1
    return widths.most_common(1)[0][0] if widths else None


def size(width: int) -> str:
    """Return what a published Wan of this width is called, or ""."""
    return f"Wan {_SIZES[width]}" if width in _SIZES else ""


def base(traits: LoraTraits) -> str | None:
    """Return the name of the published Wan that a file fits, as much of it as can be told.

    `wan2.1-t2v-1.3b`, `wan2.2-ti2v-5b` and `wan2.1-i2v-14b` follow from shapes and names alone. For the other 14B
    models the answer is a whole name such as `wan2.2-i2v-a14b`, or `wan2.2-14b`, `wan2.1-14b`, `wan-14b`.
    """
    known_size = _SIZES.get(width(traits.shapes) or 0)
    if known_size is None or known_size in _SINGLE:
        return _SINGLE.get(known_size or "")
    if any("_img" in target or "img_emb" in target for target in traits.targets):
        return "wan2.1-i2v-14b"
    text = " ".join(traits.clues).lower()
    told = re.search(r"wan[\s._-]*(?:video[\s._-]*)?2[._-]?([12])(?!\d)", text)
    generation = "2.2" if traits.has_expert else f"2.{told[1]}" if told else ""
    reads_picture = traits.shapes.get("patch_embedding", ())[1:2] == (36,)
    task = "i2v" if reads_picture else next(iter(re.findall(r"[it]2v", text)), "")
    if not generation or not task:
        return f"wan{generation}-14b"
    return f"wan2.1-{task}-14b" if generation == "2.1" else f"wan2.2-{task}-a14b"


def expert_of_timesteps(lowest: float, highest: float) -> Expert | None:
    """Return the expert that was trained on a range of timesteps (0 to 1000), or None when it spans both."""
    if lowest >= _MIN_HIGH_TIMESTEP:
        return "high_noise"
    return "low_noise" if highest <= _MAX_LOW_TIMESTEP else None


def whose_shape(target: str, shape: Shape) -> str:
    """Return which published Wan has a patch embedding of this shape, or ""."""
    return _PATCH_CHANNELS.get(shape[1], "") if target == "patch_embedding" and len(shape) > 1 else ""


def unsupported(target: str, kind: str, shape: Shape, wanted: Shape) -> str:
    """Return that a LoRA widens the patch embedding, as control LoRAs do, or ""."""
    if target != "patch_embedding" or kind != "lora" or len(shape) < 2:
        return ""
    widens = shape[1] not in _PATCH_CHANNELS and shape[1:2] != wanted[1:2]
    return f"its patch_embedding takes {shape[1]} input channels" if widens else ""


ORIGIN = Origin(_RELATIVES, width, size, base, expert_of_timesteps, whose_shape, unsupported)
