"""The measures of a video of any model and length, from its frames alone: a row of a table each.

Letters: T frames, H W pixels. Frames are (T, H, W, 3) uint8; levels are those of 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .looks import Look, background_looks, subject_looks, subject_of

#: Rows and columns of areas whose mean levels stand for a frame, where places matter and pixels do not.
_AREAS = 16
#: By how many levels a pixel changes that counts as moved.
_MOVED = 12
#: A clip that never gets farther from its beginning than this, in levels, stands still.
_STILL = 1.0
#: Which part of a clip is its beginning, where a copy of it is looked for; at least two frames.
_BEGINNING = 8
#: Of structural similarity: the window's side, and the constants that its authors use for 255 levels.
_WINDOW = 7
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Measure:
    """What is read from a video.

    Attributes:
        title: what reports call it.
        explained: how it is read, in one sentence.
        read: of frames a number; None where there is nothing to read it from.
        digits: behind the point, in tables.
        higher_is_better: None where neither is.
    """

    title: str
    explained: str
    read: Callable[[np.ndarray], float | None]
    digits: int = 3
    higher_is_better: bool | None = None


def subject_consistency(frames: np.ndarray) -> float | None:
    """Return how much alike the subject looks from frame to frame and to the first one, 0 to 1; None without one."""
    inside = subject_of(frames)
    looks = subject_looks(frames, inside)
    return _consistency(looks) if any(look.colours is not None for look in looks) else None


def background_consistency(frames: np.ndarray) -> float:
    """Return the same of what is not the subject."""
    return _consistency(background_looks(frames, subject_of(frames)))


def _consistency(looks: list[Look]) -> float:
    """Return the mean likeness of all frames behind the first to it and to the one before, as VBench has it."""
    return float(np.mean([(looks[0].likeness(new) + old.likeness(new)) / 2 for old, new in pairwise(looks)]))


def flicker(frames: np.ndarray) -> float:
    """Return by how many levels areas jump there and back, between three frames; a steady change is none.

    It is the median over the areas, so that what moves through a few of them does not count.
    """
    areas = _areas(frames)
    if len(areas) < 3:
        return 0.0
    jumps = np.abs(areas[:-2] - 2 * areas[1:-1] + areas[2:]).max(axis=-1) / 2
    return float(np.median(jumps.reshape(len(jumps), -1), axis=1).mean())


def motion(frames: np.ndarray) -> float:
    """Return which share of the picture changes from one frame to the next; a change of all of it at once is none."""
    steps = np.diff(frames.astype(np.float32), axis=0)
    steps -= np.median(steps, axis=(1, 2), keepdims=True)
    return float((np.abs(steps).max(axis=-1) > _MOVED).mean())


def colour_drift(frames: np.ndarray) -> float:
    """Return by how many levels the mean colour of the last frame differs from the first one's.

    It is the root mean square of the three colours' differences.
    """
    first, last = (frames[index].reshape(-1, 3).mean(axis=0) for index in (0, -1))
    return float(np.sqrt(((last - first) ** 2).mean()))


def repetition(frames: np.ndarray) -> float | None:
    """Return how nearly the clip comes back to its beginning, 1 where a later part is a copy of it.

    The first eighth is laid on each later part, in its order, and each is held against the farthest before it: how much
    of that distance has gone. A path that only leads away has 0. None where nothing happens, or the clip is too short.
    """
    areas = _areas(frames)
    length = max(2, len(areas) // _BEGINNING)
    starts = range(length, len(areas) - length + 1)
    if len(starts) < 2:
        return None
    distances = np.array([np.abs(areas[s : s + length] - areas[:length]).mean(axis=(1, 2, 3)).mean() for s in starts])
    if np.abs(areas - areas[:1]).max() < _STILL:
        return None
    farthest = np.maximum.accumulate(distances)
    return float((1 - distances / np.maximum(farthest, 1e-6)).max())


def similarity(frames: np.ndarray, reference: np.ndarray) -> float:
    """Return how much alike two clips of one size and length are, 1 where they are equal.

    It is the structural similarity (Wang et al. 2004, doi 10.1109/TIP.2003.819861) of their brightness, over windows of
    7 pixels, the mean of all frames.
    """
    return float(np.mean([_likeness(*pair) for pair in zip(frames, reference, strict=True)]))


def _likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Return the same of two frames (H, W, 3)."""
    one, two = (_brightness(frame) for frame in (first, second))
    mean, other = _window_means(one), _window_means(two)
    shared = _window_means(one * two) - mean * other
    spread = _window_means(one * one) - mean**2 + _window_means(two * two) - other**2
    light = (2 * mean * other + _C1) / (mean**2 + other**2 + _C1)
    return float((light * (2 * shared + _C2) / (spread + _C2)).mean())


def _brightness(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame.astype(np.float64) @ _LUMA)[None, None]


def _window_means(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, [min(_WINDOW, size) for size in values.shape[2:]], stride=1)


def _areas(frames: np.ndarray) -> np.ndarray:
    """Return the mean levels of equal areas, (T, rows, columns, 3)."""
    rows, columns = (np.array_split(np.arange(size), min(_AREAS, size)) for size in frames.shape[1:3])
    by_row = np.stack([frames[:, part].mean(axis=1, dtype=np.float32) for part in rows], axis=1)
    return np.stack([by_row[:, :, part].mean(axis=2) for part in columns], axis=2)


MEASURES: Mapping[str, Measure] = {
    "subject": Measure(
        "subject consistency",
        "how much alike the subject's colours and outline are from frame to frame and to the first, by whichever "
        "differs more; the subject is what has colours that the rim of the clip lacks",
        subject_consistency,
        2,
        higher_is_better=True,
    ),
    "background": Measure(
        "background consistency",
        "the same of the colours and the pattern of everything else",
        background_consistency,
        2,
        higher_is_better=True,
    ),
    "flicker": Measure(
        "flicker, levels",
        "by how many of 255 levels areas jump there and back, the median over the picture",
        flicker,
        2,
        higher_is_better=False,
    ),
    "motion": Measure(
        "motion",
        "the share of the picture that changes from one frame to the next",
        motion,
    ),
    "drift": Measure(
        "colour drift, levels",
        "by how many of 255 levels the mean colour of the last frame differs from the first one's",
        colour_drift,
        1,
        higher_is_better=False,
    ),
    "repetition": Measure(
        "repetition",
        "how nearly a later part is a copy of the first eighth, 1 where it is one; a path that comes back repeats too",
        repetition,
        2,
        higher_is_better=False,
    ),
}


def measured(frames: np.ndarray) -> dict[str, float]:
    """Return name -> value of all measures that can be read of a clip (T, H, W, 3) uint8."""
    return {name: value for name, measure in MEASURES.items() if (value := measure.read(frames)) is not None}
