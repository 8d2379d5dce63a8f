"""What a clip longer than the pocket's own shows from its beginning to its end; plain numpy, no networks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .measure import Reading, read_clip

_PARTS = 3
"""Into how many parts a clip is cut, each of which has to show what the whole does."""


def read_to_the_end(frames: np.ndarray) -> Reading:
    """Measure a clip (T, 64, 64, 3) in [-1, 1]; a word that its parts do not agree on is None.

    The path is that of the whole.
    """
    colours, shapes = zip(*((part.colour, part.shape) for part in _read_parts(frames)), strict=True)
    return replace(read_clip(frames), colour=_common(colours), shape=_common(shapes))


def _read_parts(frames: np.ndarray) -> list[Reading]:
    return [read_clip(part) for part in np.array_split(frames, _PARTS)]


def _common(words: Sequence[str | None]) -> str | None:
    return words[0] if len(set(words)) == 1 else None
