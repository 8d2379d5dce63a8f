"""What a Cosmos model is told of the frames it goes on from.

Letters: B batch, C latent channels, F latent frames, H W latent height and width (of pixels in `to_pixels`).
Dtype policy: float32 throughout.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..condition import Condition
from ..family import Pictures, Shape, Texts

if TYPE_CHECKING:
    from ..base import ModelSpec
    from ..opened import OpenedModel


def condition(model: OpenedModel, texts: Texts, pictures: Pictures, num_frames: int) -> Condition:
    """Return what the network is told of a clip that begins with a picture; without one it makes a world of its own."""
    first, _ = pictures
    told = Condition(*texts)
    if first is None:
        return told
    return replace(told, known_frames=model.normalise(model.vae_encode(to_pixels(first)[:, :, None])))


def condition_shapes(spec: ModelSpec, latents: Shape, num_tokens: int) -> dict[str, Shape]:
    """Return the shapes of what the network is told of clips that begin with a picture."""
    batch, channels, _, *size = latents
    return {"positive": (batch, num_tokens, spec.text_width), "known_frames": (batch, channels, 1, *size)}


def to_pixels(picture: Image.Image) -> Tensor:
    """Turn a picture into (1, 3, H, W) in [-1, 1], float32."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)) / 127.5 - 1
    return pixels.permute(2, 0, 1)[None]
