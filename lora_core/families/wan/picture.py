"""What a Wan image model is told of the pictures a video starts from, and perhaps ends with.

Letters: C latent channels, F latent frames, H W latent height and width (of pixels in `to_pixels`), L tokens, D width.
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
    from .model import WanModel

#: Of one picture: 16 x 16 patches and the class token of ViT-H/14.
_CLIP_TOKENS = 257


def condition(model: WanModel, texts: Texts, pictures: Pictures, num_frames: int) -> Condition:
    """Return what the experts are told of a clip that begins, and perhaps ends, with a picture.

    Pictures are of the frame's size: what CLIP sees is what the video shows. Two pictures' features stand one behind
    the other, 514 tokens in all.
    """
    first, last = pictures
    told = Condition(*texts)
    if first is None:
        return told
    if model.spec.expand_timesteps:
        return replace(told, known_frames=model.normalise(model.vae_encode(to_pixels(first)[:, :, None])))
    clip = first_picture_clip(to_pixels(first), num_frames, None if last is None else to_pixels(last))
    latents = model.normalise(model.vae_encode(clip))
    channels = image_channels(latents, last_known=last is not None)
    return replace(told, image_channels=channels, image_embeds=_image_embeds(model, first, last))


def condition_shapes(spec: ModelSpec, latents: Shape, num_tokens: int) -> dict[str, Shape]:
    """Return the shapes of what the experts are told of clips that begin with a picture, where they look at one."""
    batch, channels, num_latent_frames, *size = latents
    shapes: dict[str, Shape] = {"positive": (batch, num_tokens, spec.shapes["text_embedding.0"][1])}
    more_channels = spec.shapes["patch_embedding"][1] - channels
    if more_channels:
        shapes["image_channels"] = (batch, more_channels, num_latent_frames, *size)
    if spec.image_embeds:
        num_features = spec.shapes["img_emb.emb_pos"][1] if spec.first_and_last else _CLIP_TOKENS
        shapes["image_embeds"] = (batch, num_features, spec.shapes["img_emb.proj.0"][0])
    if spec.expand_timesteps:
        shapes["known_frames"] = (batch, channels, 1, *size)
    return shapes


def to_pixels(picture: Image.Image) -> Tensor:
    """Turn a picture into (1, 3, H, W) in [-1, 1], float32."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)) / 127.5 - 1
    return pixels.permute(2, 0, 1)[None]


def _image_embeds(model: WanModel, first: Image.Image, last: Image.Image | None) -> Tensor | None:
    if not model.spec.image_embeds:
        return None
    return torch.cat([model.encode_picture(picture) for picture in (first, last) if picture is not None], dim=1)


def image_channels(latents: Tensor, *, last_known: bool = False) -> Tensor:
    """Return mask and image latents (B, 4 + C, F, H, W) for the input of an I2V network.

    `latents` (B, C, F, H, W) are the normalised latents of a clip that has the picture first, perhaps one last, else
    grey. The mask has one channel per pixel frame of a latent frame, 1 where the frame is given; the first latent frame
    holds one pixel frame, counted four times. The Wan 2.1 repository's `wan/image2video.py`.
    """
    batch, _, num_latent_frames, *size = latents.shape
    known_T = torch.zeros(4 * num_latent_frames)
    known_T[:4] = 1
    known_T[-1] = 1 if last_known or num_latent_frames == 1 else 0
    mask = known_T.view(num_latent_frames, 4).T.reshape(1, 4, num_latent_frames, 1, 1)
    return torch.cat([mask.expand(batch, -1, -1, *size).to(latents), latents], dim=1)


def first_picture_clip(first: Tensor, num_frames: int, last: Tensor | None = None) -> Tensor:
    """Return the clip (B, 3, T, ...) in [-1, 1] from picture `first` (B, 3, ...) over grey to `last`, if any."""
    grey = torch.zeros_like(first)
    frames = [first, *[grey] * (num_frames - 1)]
    if last is not None:
        frames[-1] = last
    return torch.stack(frames, dim=2)
