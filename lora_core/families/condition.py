"""What tells the network which video to make: text, and for the image models the picture it starts from.

Letters: B batch, T pixel frames, F latent frames, C latent channels, H W latent height and width, L tokens, D width.
Dtype policy: float32 here; cast to the network's dtype at its door.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Condition:
    """Everything a network is given beside the noisy latents; a family that needs more derives its own.

    Attributes:
        positive: (B, 512, D) embedded prompt, zero beyond its last token.
        negative: the same for the negative prompt; None where no step uses guidance.
        image_channels: (B, 4 + C, F, H, W) mask and normalised latents, further input channels of the I2V models.
        image_embeds: (B, 257, 1280) CLIP features, which only Wan 2.1 I2V reads; of a first and a last picture
            (B, 514, 1280), one behind the other.
        known_frames: (B, C, K, H, W) normalised latents of the first K frames, held as they are (TI2V-5B).
    """

    positive: Tensor
    negative: Tensor | None = None
    image_channels: Tensor | None = None
    image_embeds: Tensor | None = None
    known_frames: Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Condition:
        """Return the same condition where and as the network computes; what is mixed with latents stays float32."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        cast = {name: tensor.to(device, dtype) for name, tensor in tensors.items() if name != "known_frames"}
        known = None if self.known_frames is None else self.known_frames.to(device)
        return replace(self, known_frames=known, **cast)

    def keep_known(self, x: Tensor) -> Tensor:
        """Put the known first frames back in their place in normalised latents (B, C, F, H, W)."""
        if self.known_frames is None:
            return x
        known = self.known_frames.expand(len(x), -1, -1, -1, -1)
        return torch.cat([known.to(x), x[:, :, known.shape[2] :]], dim=2)


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
