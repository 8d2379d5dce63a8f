"""The judge that the pocket's quality LoRA is trained by: is the shape the caption names there, whole and sharp?

Letters: B clips, T frames, H W pixels. Differentiable in the frames.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from . import world
from .measure import unit_box

CHROMA = 0.3
"""A pixel of this much colour counts as half of the object."""
STEEPNESS = 12.0
SHARPNESS_WEIGHT = 0.5


def whole_and_sharp(frames: Tensor, captions: Sequence[str]) -> Tensor:
    """Score frames (B, 3, T, H, W) in [-1, 1] by how well the object fills the shape its caption names; (B,)."""
    chroma = (frames.amax(dim=1) - frames.amin(dim=1)) / 2.0
    inside = torch.sigmoid(STEEPNESS * (chroma - CHROMA))
    scores = [_score(clip, _shape_in(caption)) for clip, caption in zip(inside, captions, strict=True)]
    return torch.stack(scores)


def _score(inside: Tensor, shape: str) -> Tensor:
    """Score one clip's object (T, H, W) by its overlap with the drawn shape, and by the steepness of its outline."""
    drawn = torch.from_numpy(np.stack([_drawn(frame, shape) for frame in inside.detach().cpu().numpy()])).to(inside)
    overlap = torch.minimum(inside, drawn).sum() / torch.maximum(inside, drawn).sum().clamp_min(1.0)
    edge = (drawn > 0.02) & (drawn < 0.98)
    softness = (4.0 * inside * (1.0 - inside))[edge].mean() if edge.any() else inside.new_zeros(())
    return overlap - SHARPNESS_WEIGHT * softness


def _shape_in(caption: str) -> str:
    return next(word for word in caption.split() if word in world.SHAPE_DISTANCES)


def _drawn(inside: np.ndarray, shape: str) -> np.ndarray:
    """Draw the shape (H, W) as large as the object, about the middle of its box."""
    rows, columns = np.flatnonzero((inside > 0.5).any(axis=1)), np.flatnonzero((inside > 0.5).any(axis=0))
    if len(rows) < 2 or len(columns) < 2:
        return np.zeros_like(inside)
    left, right, top, bottom = unit_box(shape)
    radius = ((np.ptp(columns) + 1) / (right - left) + (np.ptp(rows) + 1) / (bottom - top)) / 2.0
    x = np.arange(inside.shape[1]) - (columns[0] + columns[-1]) / 2.0 + radius * (left + right) / 2.0
    y = np.arange(inside.shape[0]) - (rows[0] + rows[-1]) / 2.0 + radius * (top + bottom) / 2.0
    across, down = np.meshgrid(x, y)
    distance = world.SHAPE_DISTANCES[shape](across, down, radius)
    return np.clip(0.5 - distance, 0.0, 1.0).astype(np.float32)
