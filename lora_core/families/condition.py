"""What tells the network which video to make: text, and for the image models the picture it starts from.

Letters: B batch, T pixel frames, F latent frames, C latent channels, H W latent height and width, L tokens, D width.
Dtype policy: float32 here; cast to the network's dtype at its door.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

#: What is mixed with latents, or is a number of its own.
_STAYS_WIDE = ("known_frames", "embedded_guidance")


@dataclass(frozen=True, eq=False)
class Condition:
    """Everything a network is given beside the noisy latents; a family that needs more derives its own.

    Attributes:
        positive: (B, 512, D) embedded prompt, zero beyond its last token.
        negative: the same for the negative prompt; None where no step uses guidance.
        image_channels: (B, 4 + C, F, H, W) mask and normalised latents, further input channels of the I2V models.
        image_embeds: (B, 257, 1280) CLIP features, which only Wan 2.1 I2V reads; of a first and a last picture
            (B, 514, 1280), one behind the other.
        embedded_guidance: (1,) what a guidance-distilled network is told; None for the model's default.
        known_frames: (B, C, K, H, W) normalised latents of the first K frames, held as they are (Wan TI2V-5B, Cosmos).
        known_sigma: the noise that known frames are said to carry, as sigma_EDM; None for the network's own.
        fps: frames per second, which only networks read that place frames in time; None for the model's own.
    """

    positive: Tensor
    negative: Tensor | None = None
    image_channels: Tensor | None = None
    image_embeds: Tensor | None = None
    embedded_guidance: Tensor | None = None
    known_frames: Tensor | None = None
    known_sigma: float | None = None
    fps: float | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Condition:
        """Return the same condition where and as the network computes; what is mixed with latents stays float32."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        dtypes = {name: None if name in _STAYS_WIDE else dtype for name in tensors}
        cast: dict[str, Any] = {name: tensor.to(device, dtypes[name]) for name, tensor in tensors.items()}
        return replace(self, **cast)

    def doubled(self) -> Condition:
        """Return the condition of a batch that holds every clip twice, all of them one behind all of them."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        twice: dict[str, Any] = {name: torch.cat([t, t]) for name, t in tensors.items() if len(t) > 1}
        return replace(self, **twice)

    @property
    def num_known(self) -> int:
        """How many of the first latent frames are given as they are."""
        return 0 if self.known_frames is None else self.known_frames.shape[2]

    def beginning(self, num_latent_frames: int) -> Condition:
        """Return the condition of the first latent frames alone, of a clip that starts from a picture or from none."""
        if self.image_channels is None:
            return self
        return replace(self, image_channels=self.image_channels[:, :, :num_latent_frames])

    def keep_known(self, x: Tensor) -> Tensor:
        """Put the known first frames back in their place in normalised latents (B, C, F, H, W)."""
        if self.known_frames is None:
            return x
        known = self.known_frames.expand(len(x), -1, -1, -1, -1)
        return torch.cat([known.to(x), x[:, :, known.shape[2] :]], dim=2)
