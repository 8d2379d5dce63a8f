"""How a part of a picture looks, as histograms of its colours and of the directions of its edges: our own features.

VBench compares features of DINO and CLIP, whose weights would have to be downloaded; these need none, and see colour
and form but no meaning. What is the subject is told without a network too: what has colours that the rim of the clip
lacks. Letters: T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Levels of each colour that are told apart, and directions of edges, in a half turn.
_LEVELS, _DIRECTIONS = 16, 8
#: How many pixels wide the rim is, as a share of the shorter side.
_RIM = 0.08
#: A colour is the subject's where its share of the rim is below this part of its share of the whole clip,
_RARE = 0.4
#: or below this part, and nearly none of it on the rim in a quarter of the frames: a subject that leaves the picture.
_PASSING, _QUARTER = 0.75, 0.25
#: Parts of a frame with fewer pixels show nothing of it, as a share of all.
_LEAST = 0.004
#: Mean slope, in levels of 255 per pixel, below which a part has no edges to speak of.
_EDGED = 2.0
#: What lies so near to the subject shows some of it.
_MARGIN_PX = 2


@dataclass(frozen=True, eq=False)
class Look:
    """How one part of one frame looks.

    Attributes:
        colours: (16 * 16 * 16,) shares that sum to 1; None where the part is not there.
        edges: (8,) shares by direction; None where it has no edges to speak of.
        steepness: how steep they are in the mean, in levels of 255 per pixel.
    """

    colours: np.ndarray | None
    edges: np.ndarray | None = None
    steepness: float = _EDGED

    def likeness(self, other: Look) -> float:
        """Return 1 for the same look, 0 where they share nothing: of what is compared, that which differs most."""
        if self.colours is None or other.colours is None:
            return float(self.colours is other.colours)
        steepness = sorted((self.steepness, other.steepness))
        found = [_common(self.colours, other.colours), steepness[0] / steepness[1]]
        if self.edges is not None and other.edges is not None:
            found.append(_common(self.edges, other.edges))
        return min(found)


def _common(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection of two histograms."""
    return float(np.minimum(one, other).sum())


def subject_looks(frames: np.ndarray, inside: np.ndarray) -> list[Look]:
    """Return the look of the subject in each frame: its colours and its outline, whatever is behind it.

    Args:
        frames: (T, H, W, 3) uint8.
        inside: (T, H, W), where it is.
    """
    return _looks(frames, inside, 255.0 * inside)


def background_looks(frames: np.ndarray, inside: np.ndarray) -> list[Look]:
    """Return the look of all but the subject and what touches it, in each frame: its colours and its pattern."""
    return _looks(frames, ~_grown(inside), frames.mean(axis=-1))


def _looks(frames: np.ndarray, inside: np.ndarray, relief: np.ndarray) -> list[Look]:
    slopes, directions = _edges(relief)
    return [_look(*parts) for parts in zip(_colours(frames), slopes, directions, inside, strict=True)]


def _look(colours: np.ndarray, slopes: np.ndarray, directions: np.ndarray, inside: np.ndarray) -> Look:
    if inside.mean() < _LEAST:
        return Look(None)
    counts = _smooth(np.bincount(colours[inside], minlength=_LEVELS**3).astype(float))
    weights = slopes[inside]
    if weights.mean() < _EDGED:
        return Look(counts / counts.sum())
    edges = np.bincount(directions[inside], weights, _DIRECTIONS).astype(float)
    edges = (np.roll(edges, 1) + 2 * edges + np.roll(edges, -1)) / 4
    return Look(counts / counts.sum(), edges / edges.sum(), float(weights.mean()))


def subject_of(frames: np.ndarray) -> np.ndarray:
    """Return where the subject is, bool (T, H, W): pixels of colours that the rim of the clip hardly has.

    The rim is two pairs of sides, of which one having a colour is enough: a slope from top to bottom is no subject.
    What all of a frame has gained in colour is taken off first, so that a drift does not make the ground one.
    """
    edge = max(1, round(_RIM * min(frames.shape[1:3])))
    colours = _colours(_steadied(frames))
    everywhere = _shares(colours)
    ends = np.arange(-edge, edge)  # the last and the first rows or columns
    beside = np.stack([_shares(frame[:, ends]) for frame in colours])
    above = np.stack([_shares(frame[ends]) for frame in colours])
    rare = np.maximum(beside.mean(axis=0), above.mean(axis=0)) < _RARE * everywhere
    seldom = np.quantile(np.maximum(beside, above), _QUARTER, axis=0) < _RARE / 2 * everywhere
    passing = (beside + above).mean(axis=0) / 2 < _PASSING * everywhere
    return np.asarray((rare | (passing & seldom))[colours])


def _steadied(frames: np.ndarray) -> np.ndarray:
    """Return frames whose median colours are all that of the clip."""
    medians = np.median(frames, axis=(1, 2))
    gained = np.rint(medians - np.median(medians, axis=0)).astype(np.int16)
    return np.clip(frames - gained[:, None, None], 0, 255).astype(np.uint8)


def _shares(colours: np.ndarray) -> np.ndarray:
    """Return which share of some pixels each colour has."""
    return _smooth(np.bincount(colours.ravel(), minlength=_LEVELS**3) / colours.size)


def _colours(frames: np.ndarray) -> np.ndarray:
    """Return the number of each pixel's colour, (T, H, W)."""
    levels = frames.astype(np.int64) * _LEVELS // 256
    return (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]


def _smooth(counts: np.ndarray) -> np.ndarray:
    """Let each colour count a little for its neighbours, so that a shade at a border is not another colour."""
    cube = counts.reshape((_LEVELS,) * 3)
    for axis in range(3):
        padded = np.pad(cube, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        before, after = (np.take(padded, np.arange(start, start + _LEVELS), axis) for start in (0, 2))
        cube = (before + 2 * cube + after) / 4
    return np.asarray(cube.ravel())


def _edges(relief: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how steep (T, H, W) levels are at each pixel, and the number of the direction, up to a half turn."""
    down, right = np.gradient(relief, axis=(1, 2))
    angle = np.arctan2(down, right) % np.pi
    return np.hypot(down, right), (angle / np.pi * _DIRECTIONS).astype(int) % _DIRECTIONS


def _grown(inside: np.ndarray) -> np.ndarray:
    """Return a part (T, H, W) with all that lies within some pixels of it along the rows or columns."""
    grown = inside.copy()
    for axis in (1, 2):
        for _ in range(_MARGIN_PX):
            before = np.pad(grown, [(1, 1) if a == axis else (0, 0) for a in range(3)])
            grown |= np.take(before, np.arange(inside.shape[axis]), axis)
            grown |= np.take(before, np.arange(2, inside.shape[axis] + 2), axis)
    return grown
