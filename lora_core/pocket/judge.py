"""The judge that the pocket's quality LoRA is trained by: is the shape the caption names there, whole and sharp?

Letters: B clips, T frames, H W pixels. Differentiable in the frames.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from . import world

#: The backgrounds have less colour than this; what has less than the second at its most colourful is no object.
BACKGROUND_CHROMA, MIN_CHROMA = 0.12, 0.3


def whole_and_sharp(frames: Tensor, captions: Sequence[str]) -> Tensor:
    """Score frames (B, 3, T, H, W) in [-1, 1] by how nearly the object covers what its caption names; (B,), 1 at best.

    A pixel's coverage is its colour's share of the object's. What it should be is drawn, with the world's own smooth
    outline, about the middle of what is there and as large, within the world's sizes: any size would be a judge that is
    soon pleased by objects which fill the picture, as their outlines are a smaller part of them.
    """
    chroma = (frames.amax(dim=1) - frames.amin(dim=1)) / 2.0
    colour = chroma.detach().flatten(2).quantile(0.97, dim=2).clamp_min(MIN_CHROMA)
    covered = ((chroma - BACKGROUND_CHROMA) / (colour[..., None, None] - BACKGROUND_CHROMA)).clamp(0.0, 1.0)
    scores = [_score(clip, _shape_in(caption)) for clip, caption in zip(covered, captions, strict=True)]
    return torch.stack(scores)


def _score(covered: Tensor, shape: str) -> Tensor:
    """Compare the coverage of one clip (T, H, W) with the drawn shape's; 1 where they are the same."""
    wanted = np.stack([_drawn(frame, shape) for frame in covered.detach().cpu().numpy()])
    target = torch.from_numpy(wanted).to(covered)
    return 1.0 - (covered - target).square().sum() / target.sum().clamp_min(1.0)


def _shape_in(caption: str) -> str:
    return next(word for word in caption.split() if word in world.SHAPE_DISTANCES)


def _drawn(covered: np.ndarray, shape: str) -> np.ndarray:
    """Draw the shape (H, W) about the middle of what is covered, and as large, within the world's sizes."""
    area, middle_x, middle_y = _unit_moments(shape)
    total = max(float(covered.sum()), 1.0)
    radius = float(np.clip(np.sqrt(total / area), *world.RADII_PX))
    rows, columns = np.indices(covered.shape)
    x = columns - (columns * covered).sum() / total + radius * middle_x
    y = rows - (rows * covered).sum() / total + radius * middle_y
    distance = world.SHAPE_DISTANCES[shape](x, y, radius)
    return np.clip(0.5 - distance, 0.0, 1.0).astype(np.float32)


@cache
def _unit_moments(shape: str) -> tuple[float, float, float]:
    """Return the area and the middle (x, y) of a shape of radius 1."""
    grid = np.linspace(-1.8, 1.8, 721)
    x, y = np.meshgrid(grid, grid)
    inside = world.SHAPE_DISTANCES[shape](x, y, 1.0) < 0
    return float(inside.sum() * (grid[1] - grid[0]) ** 2), float(x[inside].mean()), float(y[inside].mean())
