"""The two spaces a Wan latent lives in: raw, as the VAE gives and takes it, and normalised, as the network sees it.

Raw is what a ComfyUI LATENT holds and what crosses this project's borders; normalised is (raw - mean) / std by channel.
Letters: B batch, C channels, F latent frames, H W latent height and width. Dtype policy: that of the latents given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..families.wan_latents import LATENT_MEAN, LATENT_STD


def normalise(raw: Tensor) -> Tensor:
    """Return (raw - mean) / std for raw latents (B, C, F, H, W); C says which VAE they are of."""
    mean, std = _statistics(raw)
    return (raw - mean) / std


def denormalise(latents: Tensor) -> Tensor:
    """Return latents * std + mean for normalised latents (B, C, F, H, W)."""
    mean, std = _statistics(latents)
    return latents * std + mean


def _statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    num_channels = latents.shape[1]
    values = LATENT_MEAN[num_channels], LATENT_STD[num_channels]
    mean, std = (torch.tensor(v, dtype=latents.dtype, device=latents.device).view(1, -1, 1, 1, 1) for v in values)
    return mean, std
