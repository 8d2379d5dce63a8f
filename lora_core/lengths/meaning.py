"""What a clip of the embedded model means: whether it shows the colour, shape and direction that its prompt names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..comparison.measures import KEPT
from ..families.opened import OpenedModel

_ASSETS = Path(__file__).parents[1] / "pocket" / "assets"
#: How many prompts are asked of the embedded model where none are given.
_NUM_PROMPTS = 8
#: Name -> what reports call it, and how it is read.
MEANINGS: Mapping[str, tuple[str, str]] = {
    "colour": ("colour", "whether the subject has the colour that the prompt names"),
    "shape": ("shape", "whether it has the shape"),
    "direction": ("path", "whether it moves in the direction"),
}


def is_embedded(model: OpenedModel) -> bool:
    """Say whether a model is one of those that come along, whose clips can be read."""
    return "vae" in model.files and _ASSETS in model.files["vae"].parents


def read_meaning(frames: np.ndarray, prompt: str) -> dict[str, float]:
    """Read frames (T, 64, 64, 3) uint8 of the embedded model: name -> 1 as asked, 0 otherwise, of what is asked for."""
    found = {name: KEPT[name].read(frames, prompt) for name in MEANINGS}
    return {name: value for name, value in found.items() if value is not None}


def pocket_prompts() -> tuple[str, ...]:
    """Return prompts that the embedded model knows, of every shape, direction and ground."""
    from ..pocket import world
    from ..pocket.sample_clips import words_of

    return tuple(world.caption(world.Scene(**words_of(place))) for place in range(_NUM_PROMPTS))  # type: ignore[arg-type]  # words of every kind
