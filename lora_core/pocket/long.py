"""What a clip longer than the pocket's own shows from its beginning to its end; plain numpy, no networks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from . import world
from .measure import Reading, object_mask, object_track, read_clip

_PARTS = 3
"""Into how many parts a clip is cut, each of which has to show what the whole does."""
_SHARE = 0.5
"""How much of its even share of the way each part has to go."""


def read_to_the_end(frames: np.ndarray) -> Reading:
    """Measure a clip (T, 64, 64, 3) in [-1, 1]; a word that its parts do not agree on is None."""
    parts = [read_clip(part) for part in np.array_split(frames, _PARTS)]
    whole = read_clip(frames)
    return replace(
        whole,
        colour=_common([part.colour for part in parts]),
        shape=_common([part.shape for part in parts]),
        motion=whole.motion if whole.motion not in world.DIRECTIONS or _goes_on(frames, whole.motion) else None,
    )


def _common(words: Sequence[str | None]) -> str | None:
    return words[0] if len(set(words)) == 1 else None


def _goes_on(frames: np.ndarray, direction: str) -> bool:
    """Say whether the object goes on in a direction in every part of a clip, and is there in every frame."""
    centres = object_track(object_mask(frames))
    if len(centres) < len(frames):
        return False
    ends = np.linspace(0, len(centres) - 1, _PARTS + 1).round().astype(int)
    ways = np.diff(centres[ends] @ np.array(world.DIRECTIONS[direction], dtype=float))
    return bool((ways >= _SHARE * ways.sum() / _PARTS).all())
