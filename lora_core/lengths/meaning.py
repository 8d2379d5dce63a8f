"""What a clip of the embedded model means: whether it shows the colour, shape and path of its prompt to its end."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..comparison.measures import KEPT
from ..families.opened import OpenedModel

_ASSETS = Path(__file__).parents[1] / "pocket" / "assets"
#: How many prompts are asked of the embedded model where none are given.
_NUM_PROMPTS = 8
#: Into how many parts a clip is cut, each of which has to show what is asked for.
_PARTS = 3
#: Name -> what reports call it, and how it is read.
MEANINGS: Mapping[str, tuple[str, str]] = {
    "colour": ("colour", "the thirds of a clip in which the subject has the colour that the prompt names"),
    "shape": ("shape", "the thirds in which it has the shape"),
    "direction": ("path", "the clips in which it gets from beginning to end in the direction"),
}


def is_embedded(model: OpenedModel) -> bool:
    """Say whether a model is one of those that come along, whose clips can be read."""
    return "vae" in model.files and _ASSETS in model.files["vae"].parents


def read_meaning(frames: np.ndarray, prompt: str) -> dict[str, float]:
    """Read frames (T, 64, 64, 3) uint8 of the embedded model: name -> 0 to 1, of what the prompt asks for.

    Colour and shape are read from each third, so that a clip that loses them half-way does not pass for a good one.
    """
    thirds = np.array_split(frames, _PARTS)
    found = {}
    for name in MEANINGS:
        read = [KEPT[name].read(part, prompt) for part in ([frames] if name == "direction" else thirds)]
        if there := [value for value in read if value is not None]:
            found[name] = statistics.fmean(there)
    return found


def pocket_prompts() -> tuple[str, ...]:
    """Return prompts that the embedded model knows, of every shape, direction and ground."""
    from ..pocket import world
    from ..pocket.sample_clips import words_of

    return tuple(world.caption(world.Scene(**words_of(place))) for place in range(_NUM_PROMPTS))  # type: ignore[arg-type]  # words of every kind
