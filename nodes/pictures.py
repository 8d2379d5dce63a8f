"""Pictures between files, frames and the host's IMAGE, which is (N, H, W, 3) float32 from 0 to 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image


def as_frames(images: torch.Tensor) -> np.ndarray:
    """Return an IMAGE as frames (N, H, W, 3) uint8; transparency is left out."""
    return (images[..., :3].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def as_image(pixels: np.ndarray) -> torch.Tensor:
    """Return a picture (H, W, 3) uint8 as an IMAGE."""
    return torch.from_numpy(np.array(pixels)).float().div(255)[None]


def picture_of(path: Path, otherwise: str) -> torch.Tensor:
    """Return the picture in a file as an IMAGE; where there is no file, one that says so."""
    from ..lora_core.media.figures import message_image

    if not path.is_file():
        return as_image(message_image(otherwise))
    with Image.open(path) as picture:
        return as_image(np.asarray(picture.convert("RGB")))
