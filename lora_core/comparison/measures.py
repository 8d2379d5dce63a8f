"""The measures of videos: what tells how much was learnt, and what tells how far everything else has moved.

A measure is a row of a table. Any model has the general ones; the embedded model has its own besides, which read its
small clips without a network. Letters: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: The score that needs no video: what share of the base's held-out loss has gone.
HELD_OUT = "held_out"


@dataclass(frozen=True)
class Measure:
    """What is read from the video of one prompt.

    Attributes:
        title: what reports call it.
        read: of frames (T, H, W, 3) uint8 and the prompt a number from 0 to 1; None where the prompt asks for nothing
            that this is about.
        embedded_only: whether it can read the clips of the embedded model alone.
    """

    title: str
    read: Callable[[np.ndarray, str], float | None]
    embedded_only: bool = True


def _subject(field: str) -> Callable[[np.ndarray, str], float | None]:
    """Return what reads one of the pocket's own scores."""

    def read(frames: np.ndarray, prompt: str) -> float | None:
        from ..pocket.measure import read_clip

        return float(getattr(read_clip(_in_floats(frames)), field))

    return read


def _as_asked(field: str) -> Callable[[np.ndarray, str], float | None]:
    """Return what tells whether a clip shows the word of one kind that its prompt has."""

    def read(frames: np.ndarray, prompt: str) -> float | None:
        from ..pocket import measure, world

        words = {"colour": world.COLOURS, "shape": world.SHAPES, "motion": world.DIRECTIONS}[field]
        asked = next((word for word in prompt.lower().split() if word in words), None)
        if asked is None:
            return None
        return float(getattr(measure.read_clip(_in_floats(frames)), field) == asked)

    return read


def _in_floats(frames: np.ndarray) -> np.ndarray:
    """Return frames as the pocket's measures read them, float32 in [-1, 1]."""
    return frames.astype(np.float32) / 127.5 - 1


#: What tells how much was learnt: name -> how it is read from the learning prompts; None needs no video.
SCORES: Mapping[str, Measure | None] = {
    HELD_OUT: None,
    "blorp": Measure("frames that show a blorp", _subject("blorp")),
    "zibbo": Measure("frames that show a zibbo", _subject("zibbo")),
    "neon": Measure("dark pixels", _subject("neon")),
    "orbit": Measure("the share of a full turn", _subject("orbit")),
}
#: What tells whether other prompts still come out as they did, beside how far their latents have moved.
KEPT: Mapping[str, Measure] = {
    "colour": Measure("colour as asked", _as_asked("colour")),
    "shape": Measure("shape as asked", _as_asked("shape")),
    "direction": Measure("direction as asked", _as_asked("motion")),
}


def moved(latents: np.ndarray, base: np.ndarray) -> float:
    """Return how far latents lie from the base's on the same noise.

    It is the root mean square of the difference, in deviations of the base's.
    """
    deviation = float(base.std()) or 1.0
    return float(np.sqrt(np.mean((latents - base) ** 2))) / deviation
