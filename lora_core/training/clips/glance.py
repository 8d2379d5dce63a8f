"""A glance at a frame: enough to tell later whether a clip is blank or stands still, without keeping its pixels.

Letters: H W pixels. Thumbnails are uint8 arrays (H, W, 3), RGB, small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .clip import Probe

#: The sides of a thumbnail, each of whose pixels is the mean of its part of the frame.
SIDE = 64
#: Up to how many of the 255 levels apart the places of a frame count as one colour: what compression leaves of one.
_ONE_COLOUR = 8


@dataclass(frozen=True)
class Glance:
    """What is kept of a frame.

    Attributes:
        time: when it is shown, in seconds.
        spread: the most that one place differs from another, in levels of 255.
        brightest: its highest level.
        change: the most that a place differs from the same place of the first frame.
    """

    time: float
    spread: int
    brightest: int
    change: int


def glances(frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[Glance]:
    """Yield a glance at each (time, thumbnail)."""
    first: np.ndarray | None = None
    for time, thumbnail in frames:
        levels = thumbnail.astype(np.int16)
        first = levels if first is None else first
        spread = int(np.ptp(levels, axis=(0, 1)).max())
        yield Glance(time, spread, int(levels.max()), int(np.abs(levels - first).max()))


def summed_up(
    seen: Sequence[Glance], size: tuple[int, int], fingerprint: str, *, rate: float, aspect: float = 1.0
) -> Probe:
    """Return what a clip is, from glances at all its frames.

    Args:
        seen: at least one, in the order in which they are shown.
        size: width and height, upright.
        fingerprint: of the file.
        rate: what the file says of its frames per second, for where its time stamps say nothing; 0 of a picture.
        aspect: of its pixels, upright.
    """
    times = np.array([glance.time for glance in seen])
    played = float(times[-1] - times[0])
    fps = (len(seen) - 1) / played if rate and played > 0 else rate
    return Probe(
        num_frames=len(seen),
        fps=fps,
        seconds=len(seen) / fps if fps else 0.0,
        width=size[0],
        height=size[1],
        fingerprint=fingerprint,
        num_blank=sum(glance.spread <= _ONE_COLOUR for glance in seen),
        brightest=max(glance.brightest for glance in seen),
        change=max(glance.change for glance in seen),
        longest_gap=float(np.diff(times).max(initial=0.0)),
        pixel_aspect=aspect,
    )
