"""What a Wan image model is told of the pictures a video starts from, and perhaps ends with.

Letters: C latent channels, F latent frames, H W latent height and width (of pixels in `to_pixels`), L tokens, D width.
Dtype policy: float32 throughout.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..condition import first_picture_clip, image_channels
from .model import WanModel

#: (image channels, CLIP features, known frames), as `Condition` has them.
PictureParts = tuple[Tensor | None, Tensor | None, Tensor | None]


def picture_parts(
    model: WanModel, first: Image.Image | None, last: Image.Image | None, num_frames: int
) -> PictureParts:
    """Return image channels (1, 4 + C, F, H, W), CLIP features (1, L, D) and known frames (1, C, 1, H, W).

    Each is there if the model takes its picture so. Pictures are of the frame's size: what CLIP sees is what the video
    shows. Two pictures' features stand one behind the other, 514 tokens in all.
    """
    if first is None:
        return None, None, None
    if model.spec.expand_timesteps:
        return None, None, model.normalise(model.vae_encode(to_pixels(first)[:, :, None]))
    clip = first_picture_clip(to_pixels(first), num_frames, None if last is None else to_pixels(last))
    latents = model.normalise(model.vae_encode(clip))
    return image_channels(latents, last_known=last is not None), _image_embeds(model, first, last), None


def to_pixels(picture: Image.Image) -> Tensor:
    """Turn a picture into (1, 3, H, W) in [-1, 1], float32."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)) / 127.5 - 1
    return pixels.permute(2, 0, 1)[None]


def _image_embeds(model: WanModel, first: Image.Image, last: Image.Image | None) -> Tensor | None:
    if not model.spec.image_embeds:
        return None
    return torch.cat([model.encode_picture(picture) for picture in (first, last) if picture is not None], dim=1)
