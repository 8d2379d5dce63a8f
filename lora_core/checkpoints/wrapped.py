"""A checkpoint with a LoRA inside it, as PEFT leaves it: `q.base_layer.weight` beside `q.lora_A.default.weight`.

NVIDIA's post-training writes such files, thousands of megabytes of base weights around a LoRA of some fifty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import ModelError
from ..wording import said

_INSIDE = re.compile(r"\.base_layer\.(weight|bias)$")


def is_wrapped(name: str) -> bool:
    """Say whether a tensor is the weight of a layer that a LoRA stands around."""
    return _INSIDE.search(name) is not None


def unwrapped(name: str) -> str:
    """Return the name that a base weight had before a LoRA was put around its layer."""
    return _INSIDE.sub(r".\1", name)


def refuse_wrapped(path: Path, names: Iterable[str]) -> None:
    """Refuse a checkpoint with a LoRA inside where a base is wanted: read as one, it lacks what the LoRA renamed.

    Raises:
        ModelError: some of its layers are wrapped.
    """
    num_wrapped = sum(map(is_wrapped, names))
    if num_wrapped:
        what = said(
            "it is a checkpoint with a LoRA inside, not a base: {count} of its weights are named .base_layer",
            count=num_wrapped,
        )
        remedy = said(
            "Give the base it was trained from as the model, and this file as a LoRA, or what "
            "`lora-core extract-cosmos` takes out of it"
        )
        raise ModelError(path, what, expected="a base checkpoint", remedy=remedy)
