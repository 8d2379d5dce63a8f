"""The base's own weights in a post-trained checkpoint, which stand around its LoRA and are never read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..checkpoints.pickled import is_extra_state
from ..checkpoints.wrapped import is_wrapped, unwrapped
from ..families.base import ModelSpec
from .containers.tensorfile import TensorInfo
from .dialects import Label, locate


def base_weights(labels: Iterable[Label], spec: ModelSpec) -> frozenset[str]:
    """Return the names of everything in a post-trained checkpoint that is no part of a LoRA; of other files nothing.

    Such a checkpoint has both layers that a LoRA stands around (`.base_layer.`) and whole weights of other layers.
    """
    outside = [label.name for label in labels if label.leaf is None and not label.unsupported]
    if not any(map(is_wrapped, outside)) or not any(is_whole_weight(name, spec) for name in outside):
        return frozenset()
    return frozenset(name for name in outside if "lora_" not in name and not is_extra_state(name))


def is_whole_weight(name: str, spec: ModelSpec) -> bool:
    """Say whether a tensor has the name of a parameter itself."""
    stem = name.removesuffix(".weight").removesuffix(".bias")
    return stem != name and locate(stem, spec).path is not None


def base_shapes(infos: Mapping[str, TensorInfo], names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a post-trained checkpoint's base weights, under the names that a base has them by."""
    return {unwrapped(name): infos[name].shape for name in names}
