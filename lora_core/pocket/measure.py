"""Measurements that say what a pocket clip shows: colour, shape, motion, style, character; plain numpy, no networks.

Every function takes frames as float32 (T, 64, 64, 3) in [-1, 1], as `world.draw` and the VAE give them.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from . import world

MIN_CHROMA = 0.28
"""From here on a pixel counts as coloured; the backgrounds stay below 0.12, the darkest object is at 0.6."""
GROWTHS = (0.0, 0.15)
"""By how much of its radius a shape's outline may have grown, through blur or glow, and still be that shape."""
MIN_OBJECT_PX = 20
MIN_TRAVEL_PX = 8.0


@dataclass(frozen=True)
class Reading:
    """What one clip shows; None where nothing was found, scores between 0 and 1."""

    colour: str | None
    shape: str | None
    motion: str | None
    neon: float
    zibbo: float
    blorp: float
    orbit: float


def read_clip(frames: np.ndarray) -> Reading:
    """Measure everything in one clip."""
    mask = object_mask(frames)
    return Reading(
        colour=dominant_colour(frames, mask),
        shape=nearest_shape(mask),
        motion=motion_word(mask),
        neon=neon_score(frames),
        zibbo=zibbo_score(frames, mask),
        blorp=blorp_score(frames, mask),
        orbit=orbit_score(mask),
    )


def object_mask(frames: np.ndarray) -> np.ndarray:
    """Find the coloured object, bool (T, 64, 64): what is coloured, and what coloured pixels enclose on four sides.

    In the neon style only what is nearly as coloured as the outline counts, for the glow blurs the form.
    """
    chroma = _chroma(frames)
    share = 0.8 if neon_score(frames) > 0.5 else 0.5
    coloured = chroma > max(MIN_CHROMA, share * float(np.quantile(chroma, 0.99)))
    sides = [np.maximum.accumulate(coloured, axis=axis) for axis in (1, 2)]
    sides += [np.flip(np.maximum.accumulate(np.flip(coloured, axis), axis=axis), axis) for axis in (1, 2)]
    return coloured | np.logical_and.reduce(sides)


def dominant_colour(frames: np.ndarray, mask: np.ndarray) -> str | None:
    """Name the colour (or "purple") whose hue is nearest to the object's, weighted by how coloured each pixel is."""
    weight = np.where(mask, _chroma(frames), 0.0)
    if (weight > MIN_CHROMA).sum() < MIN_OBJECT_PX:
        return None
    hue = _hue((frames * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum())
    references = {**world.COLOURS, "purple": world.PURPLE}
    return min(references, key=lambda name: _circular_distance(hue, _hue(np.array(references[name]))))


def nearest_shape(mask: np.ndarray) -> str | None:
    """Name the shape whose drawn outline overlaps the object best (intersection over union), over all frames."""
    overlaps = [_shape_overlaps(frame) for frame in mask if frame.sum() >= MIN_OBJECT_PX]
    if not overlaps:
        return None
    return world.SHAPES[int(np.argmax(np.mean(overlaps, axis=0)))]


def object_track(mask: np.ndarray) -> np.ndarray:
    """Give the object's centre of area per frame where it is visible, (frames, 2) as x, y in pixels."""
    visible = mask[mask.sum(axis=(1, 2)) >= MIN_OBJECT_PX]
    grid = np.arange(mask.shape[-1])
    area = visible.sum(axis=(1, 2))
    x = (visible.sum(axis=1) * grid).sum(axis=1) / area
    y = (visible.sum(axis=2) * grid).sum(axis=1) / area
    return np.stack([x, y], axis=1)


def motion_word(mask: np.ndarray) -> str | None:
    """Name the motion: "orbits", a direction, or None if the object hardly moves."""
    centres = object_track(mask)
    if len(centres) < 5:
        return None
    if orbit_score(mask) > 0.5:
        return "orbits"
    travel = centres[-2:].mean(axis=0) - centres[:2].mean(axis=0)
    if np.abs(travel).max() < MIN_TRAVEL_PX:
        return None
    return max(world.DIRECTIONS, key=lambda name: float(np.dot(travel, world.DIRECTIONS[name])))


def orbit_score(mask: np.ndarray) -> float:
    """Say what part of a full turn the heading makes: near 0 for a straight path, near 1 for one round."""
    centres = object_track(mask)
    if len(centres) < 8 or np.ptp(centres, axis=0).min() < MIN_TRAVEL_PX:
        return 0.0
    smooth = (centres[:-2] + centres[1:-1] + centres[2:]) / 3
    heading = np.diff(smooth, axis=0)
    angles = np.unwrap(np.arctan2(heading[:, 1], heading[:, 0]))
    covered = 2 * np.pi * (len(angles) - 1) / (len(centres) - 1)
    return float(np.clip(abs(angles[-1] - angles[0]) / covered, 0.0, 1.0))


def neon_score(frames: np.ndarray) -> float:
    """Give the share of nearly black pixels; about 0 in an ordinary clip, above 0.6 in a neon one."""
    return float((frames.max(axis=-1) < -0.5).mean())


def zibbo_score(frames: np.ndarray, mask: np.ndarray) -> float:
    """Give the share of frames that show a purple object with two white eyes, apart from each other."""
    return float(np.mean([_is_zibbo(frame, inside) for frame, inside in zip(frames, mask, strict=True)]))


def blorp_score(frames: np.ndarray, mask: np.ndarray) -> float:
    """Give the share of frames that show a red cap above a narrower yellow stem."""
    return float(np.mean([_is_blorp(frame, inside) for frame, inside in zip(frames, mask, strict=True)]))


def _is_blorp(frame: np.ndarray, inside: np.ndarray) -> bool:
    if inside.sum() < MIN_OBJECT_PX:
        return False
    rows = np.flatnonzero(inside.any(axis=1))
    middle = (rows[0] + rows[-1] + 1) // 2
    upper, lower = inside.copy(), inside.copy()
    upper[middle:], lower[:middle] = False, False
    if dominant_colour(frame[None], upper[None]) != "red":
        return False
    stem_is_narrow = lower.sum() < 0.75 * upper.sum()
    return stem_is_narrow and dominant_colour(frame[None], lower[None]) == "yellow"


def _is_zibbo(frame: np.ndarray, inside: np.ndarray) -> bool:
    if inside.sum() < MIN_OBJECT_PX or dominant_colour(frame[None], inside[None]) != "purple":
        return False
    columns = np.flatnonzero(inside.any(axis=0))
    middle = (columns[0] + columns[-1] + 1) // 2
    white = (inside & (frame.min(axis=-1) > 0.3)).sum(axis=0)
    left, right, between = white[:middle], white[middle:], white[middle - 1 : middle + 2]
    return bool(left.sum() >= 3 and right.sum() >= 3 and 2 * between.min() < min(left.max(), right.max()))


def _shape_overlaps(inside: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    width, height = np.ptp(columns) + 1.0, np.ptp(rows) + 1.0
    x = np.arange(world.SIZE_PX)[None, :] - (columns[0] + columns[-1]) / 2
    y = np.arange(world.SIZE_PX)[:, None] - (rows[0] + rows[-1]) / 2
    unit_x, unit_y = 2.0 * x / width, 2.0 * y / height
    return [
        max(_overlap(inside, _template(shape, growth, unit_x, unit_y)) for growth in GROWTHS) for shape in world.SHAPES
    ]


def _template(shape: str, growth: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw a grown unit shape stretched to the box from -1 to 1, so that only its form is compared."""
    left, right, top, bottom = unit_box(shape, growth)
    unit_x = left + (x + 1.0) / 2.0 * (right - left)
    unit_y = top + (y + 1.0) / 2.0 * (bottom - top)
    unit_x, unit_y = np.broadcast_arrays(unit_x, unit_y)
    return world.SHAPE_DISTANCES[shape](unit_x, unit_y, 1.0) < growth


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@cache
def unit_box(shape: str, growth: float = 0.0) -> tuple[float, float, float, float]:
    """Return the left, right, top and bottom edge of a shape of radius 1 whose outline has grown."""
    grid = np.linspace(-1.8, 1.8, 721)
    x, y = np.meshgrid(grid, grid)
    inside = world.SHAPE_DISTANCES[shape](x, y, 1.0) < growth
    columns, rows = grid[inside.any(axis=0)], grid[inside.any(axis=1)]
    return columns[0], columns[-1], rows[0], rows[-1]


def _chroma(frames: np.ndarray) -> np.ndarray:
    return (frames.max(axis=-1) - frames.min(axis=-1)) / 2.0


def _hue(colour: np.ndarray) -> float:
    """Give the hue in turns, 0 to 1."""
    red, green, blue = colour
    return float(np.arctan2(np.sqrt(3.0) * (green - blue), 2.0 * red - green - blue) / (2 * np.pi) % 1.0)


def _circular_distance(one: float, other: float) -> float:
    return abs((one - other + 0.5) % 1.0 - 0.5)
