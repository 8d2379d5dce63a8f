"""Judges of videos that trainings by a reward are tested with."""

from collections.abc import Sequence

from torch import Tensor


def dark(frames: Tensor, captions: Sequence[str]) -> Tensor:
    """Score frames (B, 3, T, H, W) in [-1, 1] by how dark they are."""
    assert len(frames) == len(captions)
    return -frames.mean(dim=(1, 2, 3, 4))
