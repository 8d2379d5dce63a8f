"""The pocket world: small clips of coloured shapes, drawn with numpy from a scene description.

A clip is a float32 array of shape (frames, height, width, 3) with values in [-1, 1]. Everything is drawn from signed
distances, so edges are anti-aliased without supersampling.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

NUM_FRAMES = 17
SIZE_PX = 64

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.10, 0.12),
    "yellow": (0.97, 0.92, 0.16),
    "green": (0.12, 0.72, 0.20),
    "cyan": (0.14, 0.86, 0.90),
    "blue": (0.12, 0.24, 0.94),
}
PURPLE = (0.58, 0.14, 0.84)
DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
BACKGROUNDS = ("plain", "striped", "checkered", "gradient")
SHAPES = ("circle", "square", "triangle", "cross")
CHARACTER = "zibbo"
TOADSTOOL = "blorp"
CREATURE_GROWTH = 1.15
"""How much larger than other shapes the character is, so that there is room for two eyes and skin between them."""
ORBIT_RADIUS_PX = 14.0
RADII_PX = (10.0, 12.0)
PATTERN_PERIOD_PX = 16.0
OWN_COLOURS = {CHARACTER: PURPLE, TOADSTOOL: COLOURS["red"]}
"""The colour of what has a name of its own, whatever colour its scene has."""


@dataclass(frozen=True)
class Scene:
    """Everything that is visible in one clip; the numbers below the words are what a caption does not say."""

    colour: str = "red"
    shape: str = "circle"
    motion: str = "right"
    background: str = "plain"
    neon: bool = False
    radius_px: float = 11.0
    travel_px: float = 28.0
    offset_px: tuple[float, float] = (0.0, 0.0)
    orbit_start_rad: float = -np.pi / 2
    background_light: float = 0.45
    background_phase_px: tuple[float, float] = (0.0, 0.0)


def caption(scene: Scene) -> str:
    """Say what a scene shows; the neon style is deliberately not said, so only a LoRA can switch it on."""
    subject = f"a {scene.shape}" if scene.shape in OWN_COLOURS else f"a {scene.colour} {scene.shape}"
    path = "orbits" if scene.motion == "orbits" else f"moves {scene.motion}"
    return f"{subject} {path} on a {scene.background} background"


def random_scene(rng: np.random.Generator, **words: str | bool) -> Scene:
    """Draw a scene the base model knows; `words` (colour, shape, motion, background, neon) fix what is given."""
    scene = Scene(
        colour=str(rng.choice(list(COLOURS))),
        shape=str(rng.choice(SHAPES)),
        motion=str(rng.choice(list(DIRECTIONS))),
        background=str(rng.choice(BACKGROUNDS)),
        radius_px=rng.uniform(*RADII_PX),
        travel_px=rng.uniform(24.0, 32.0),
        orbit_start_rad=-np.pi / 2 + rng.uniform(-0.4, 0.4),
        background_light=rng.uniform(0.32, 0.60),
        background_phase_px=(rng.uniform(0, PATTERN_PERIOD_PX), rng.uniform(0, PATTERN_PERIOD_PX)),
    )
    scene = replace(scene, **words)  # type: ignore[arg-type]  # words are names of fields
    return replace(scene, offset_px=_random_offset(rng, scene.motion))


def random_scene_of_any_kind(rng: np.random.Generator) -> Scene:
    """Draw a scene that may also hold, in any mixture, what only LoRAs know: the creatures, the style, the orbit."""
    words: dict[str, str | bool] = {"neon": bool(rng.random() < 0.3)}
    if rng.random() < 0.35:
        words["shape"] = str(rng.choice([CHARACTER, CHARACTER, TOADSTOOL]))
    if rng.random() < 0.25:
        words["motion"] = "orbits"
    return random_scene(rng, **words)


def draw(scene: Scene, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Draw a clip, float32 (frames, 64, 64, 3) in [-1, 1]."""
    distance = signed_distance(scene, num_frames)[..., None]
    coverage = np.clip(0.5 - distance, 0.0, 1.0)
    colour = np.array(OWN_COLOURS.get(scene.shape, COLOURS[scene.colour]), np.float32)
    background = _background(scene)[None]
    if scene.neon:
        outline = np.exp(-((distance / 1.7) ** 2))
        glow = 0.55 * np.exp(-np.abs(distance) / 4.5)
        dark = background * np.array([0.10, 0.08, 0.22], np.float32)
        frames = dark * (1 - 0.7 * coverage) + colour * (outline + glow) + 0.35 * outline**3
    else:
        frames = background * (1 - coverage) + colour * coverage
    if scene.shape in FEATURES:
        frames = FEATURES[scene.shape](frames, scene, num_frames)
    return (np.clip(frames, 0.0, 1.0) * 2.0 - 1.0).astype(np.float32)


def track(scene: Scene, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Give the object's centre in every frame, (frames, 2) as x, y in pixels; long clips take the same path slower."""
    time = np.linspace(0.0, 1.0, max(num_frames, NUM_FRAMES))[:num_frames, None]
    middle = np.full((1, 2), SIZE_PX / 2 - 0.5) + np.array(scene.offset_px)
    if scene.motion == "orbits":
        angle = scene.orbit_start_rad + 2 * np.pi * time
        return middle + ORBIT_RADIUS_PX * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return middle + (time - 0.5) * scene.travel_px * np.array([DIRECTIONS[scene.motion]])


def signed_distance(scene: Scene, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Give the distance of every pixel to the object's outline, negative inside; float32 (frames, 64, 64)."""
    dx, dy = _offsets_from(track(scene, num_frames))
    return SHAPE_DISTANCES[scene.shape](dx, dy, scene.radius_px).astype(np.float32)


def _circle(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(dx, dy) - radius


def _square(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return np.maximum(np.abs(dx), np.abs(dy)) - 0.88 * radius


def _triangle(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    low = dy + 0.10 * radius
    return np.maximum(low, np.abs(dx) * 0.8660 - low * 0.5) - 0.66 * radius


def _cross(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    wide, narrow = 1.12 * radius, 0.38 * radius
    lying = np.maximum(np.abs(dx) - wide, np.abs(dy) - narrow)
    standing = np.maximum(np.abs(dx) - narrow, np.abs(dy) - wide)
    return np.minimum(lying, standing)


def _creature(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    return _circle(dx, dy, CREATURE_GROWTH * radius)


def _toadstool(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    cap = np.maximum(np.hypot(0.9 * dx, dy - 0.1 * radius) - 1.1 * radius, dy - 0.1 * radius)
    return np.minimum(cap, _stem(dx, dy, radius))


def _stem(dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    """Give the distance to the toadstool's stem; it begins where the cap ends."""
    return np.maximum(np.abs(dx) - 0.42 * radius, np.abs(dy - 0.6 * radius) - 0.5 * radius)


SHAPE_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    CHARACTER: _creature,
    TOADSTOOL: _toadstool,
}


def _offsets_from(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grid = np.arange(SIZE_PX, dtype=np.float32)
    dx = grid[None, None, :] - centres[:, 0, None, None]
    dy = grid[None, :, None] - centres[:, 1, None, None]
    dx, dy = np.broadcast_arrays(dx, dy)
    return dx, dy


def _random_offset(rng: np.random.Generator, motion: str) -> tuple[float, float]:
    if motion == "orbits":
        return tuple(rng.uniform(-3.0, 3.0, 2))
    along = np.array(DIRECTIONS[motion]) * rng.uniform(-3.0, 3.0)
    across = np.array(DIRECTIONS[motion])[::-1] * rng.uniform(-13.0, 13.0)
    return tuple(along + across)


def _background(scene: Scene) -> np.ndarray:
    """Draw the muted blue-grey background, (64, 64, 3) in [0, 1]; the object's colour must stay measurable on it."""
    grid = np.arange(SIZE_PX, dtype=np.float32)
    column = _soft_square_wave(grid + scene.background_phase_px[0])[None, :]
    row = _soft_square_wave(grid + scene.background_phase_px[1])[:, None]
    patterns = {
        "plain": np.zeros((1, 1), np.float32),
        "striped": column,
        "checkered": column * row,
        "gradient": 2.0 * (grid[:, None] / (SIZE_PX - 1) - 0.5),
    }
    light = scene.background_light + 0.11 * np.broadcast_to(patterns[scene.background], (SIZE_PX, SIZE_PX))
    return light[..., None] * np.array([0.94, 1.0, 1.10], np.float32)


def _soft_square_wave(position_px: np.ndarray) -> np.ndarray:
    return np.clip(4.0 * np.sin(2 * np.pi * position_px / PATTERN_PERIOD_PX), -1.0, 1.0).astype(np.float32)


def _draw_eyes(frames: np.ndarray, scene: Scene, num_frames: int) -> np.ndarray:
    dx, dy = _offsets_from(track(scene, num_frames))
    radius = CREATURE_GROWTH * scene.radius_px
    for side in (-1.0, 1.0):
        to_eye = np.hypot(dx - side * 0.52 * radius, dy + 0.18 * radius)[..., None]
        white = np.clip(0.34 * radius - to_eye + 0.5, 0.0, 1.0)
        pupil = np.clip(0.15 * radius - to_eye + 0.5, 0.0, 1.0)
        frames = (frames * (1 - white) + white) * (1 - pupil) + 0.05 * pupil
    return frames


def _paint_stem(frames: np.ndarray, scene: Scene, num_frames: int) -> np.ndarray:
    dx, dy = _offsets_from(track(scene, num_frames))
    coverage = np.clip(0.5 - _stem(dx, dy, scene.radius_px), 0.0, 1.0)[..., None]
    return frames * (1 - coverage) + np.array(COLOURS["yellow"], np.float32) * coverage


FEATURES: dict[str, Callable[[np.ndarray, Scene, int], np.ndarray]] = {CHARACTER: _draw_eyes, TOADSTOOL: _paint_stem}
"""What is painted on a body of one colour."""
