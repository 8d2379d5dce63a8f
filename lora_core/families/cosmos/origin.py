"""The Cosmos a LoRA file was made for, as far as its shapes and names tell it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from ..family import LoraTraits, Origin, Shape, Shapes

#: Width of a Cosmos transformer -> its size, and the published model of that size.
_SIZES: Mapping[int, tuple[str, str]] = {
    2048: ("Cosmos Predict2 2B", "cosmos-predict2-2b-video2world"),
    5120: ("Cosmos Predict2 14B", "cosmos-predict2-14b-video2world"),
}

#: Inputs of the embedding of patches, four to a channel -> whose they are.
_PATCH_INPUTS: Mapping[int, str] = {72: "video-to-world", 68: "text-to-image"}

#: Regular expression on a path inside a block -> the axis of its weight that is the transformer's width.
_WIDTH_AXES: tuple[tuple[str, int], ...] = (
    (r"(self|cross)_attn\.(q|k|v|output)_proj", 0),
    (r"mlp\.layer1", 1),
    (r"mlp\.layer2", 0),
)

#: What the published models' texts are wide, and where that is seen.
_TEXT_WIDTH = 1024
_READS_TEXT = re.compile(r"\.cross_attn\.[kv]_proj$")

#: (regular expression on a module path with underscores for dots, the relative of Cosmos that alone has such a name).
_RELATIVES: tuple[tuple[str, str], ...] = (
    (r"(^|_)crossattn_proj", "Cosmos Predict2.5, whose projection of texts this model does not have"),
    (r"(^|_)llm_adapter_", "Anima, whose adapter of a language model this model does not have"),
)


def width(shapes: Shapes) -> int | None:
    """Return the width of the transformer that deltas of these shapes belong to, or None when no shape tells it."""
    widths: Counter[int] = Counter()
    for target, shape in shapes.items():
        path = target.split(".", 2)[-1]
        axis = next((axis for pattern, axis in _WIDTH_AXES if re.fullmatch(pattern, path)), None)
        if axis is not None and axis < len(shape):
            widths[shape[axis]] += 1
    return widths.most_common(1)[0][0] if widths else None


def size(width: int) -> str:
    """Return what a published Cosmos of this width is called, or ""."""
    return _SIZES.get(width, ("", ""))[0]


def base(traits: LoraTraits) -> str | None:
    """Return the name of the published Cosmos that a file fits; resolution and frame rate are not told by shapes."""
    texts = {shape[1] for target, shape in traits.shapes.items() if _READS_TEXT.search(target) and len(shape) > 1}
    if texts - {_TEXT_WIDTH}:  # LTX-Video has a size of the same width and diffusers' names, and wider texts
        return None
    return _SIZES.get(width(traits.shapes) or 0, ("", None))[1]


def whose_shape(target: str, shape: Shape) -> str:
    """Return which published Cosmos has an embedding of patches of this shape, or ""."""
    return _PATCH_INPUTS.get(shape[1], "") if target == "x_embedder.proj.1" and len(shape) > 1 else ""


ORIGIN = Origin(_RELATIVES, width, size, base, lambda lowest, highest: None, whose_shape, lambda *delta: "")
