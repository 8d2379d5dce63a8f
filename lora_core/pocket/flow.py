"""Euler sampling with two experts, as the pocket world's own scripts need it for measuring and distilling.

Letters: B batch, C latent channels, F latent frames, H W latent height and width. Everything is float32.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from .experts import BOUNDARY_SIGMA, LATENT_SHAPE, predict_velocity

#: The shift of every schedule in the pocket world.
SHIFT = 5.0


@dataclass(frozen=True)
class ExpertPair:
    """The two networks; `at` names the one that is responsible for a noise level."""

    high_noise: WanTransformer3DModel
    low_noise: WanTransformer3DModel

    def at(self, sigma: float) -> WanTransformer3DModel:
        return self.high_noise if sigma >= BOUNDARY_SIGMA else self.low_noise


def seeded_noise(num_clips: int, seed: int) -> Tensor:
    """Draw starting noise, (num_clips, C, F, H, W)."""
    return torch.randn(num_clips, *LATENT_SHAPE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def guided_velocity(
    expert: WanTransformer3DModel, x: Tensor, sigma: float, text: Tensor, empty_text: Tensor, cfg: float
) -> Tensor:
    """Predict with classifier-free guidance; at cfg 1 the empty prompt is not computed."""
    sigma_B = x.new_full((len(x),), sigma)
    if cfg == 1.0:
        return predict_velocity(expert, x, sigma_B, text)
    both = predict_velocity(
        expert, torch.cat([x, x]), torch.cat([sigma_B, sigma_B]), torch.cat([text, empty_text.expand_as(text)])
    )
    with_text, without_text = both.chunk(2)
    return without_text + cfg * (with_text - without_text)


def sample_latents(
    pair: ExpertPair,
    noise: Tensor,
    text: Tensor,
    empty_text: Tensor,
    sigmas: Sequence[float],
    cfg: float,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Integrate from noise (B, C, F, H, W) to normalised latents; `callback` sees (step, state after the step)."""
    x = noise
    for step, (sigma, next_sigma) in enumerate(itertools.pairwise(sigmas)):
        x = x + (next_sigma - sigma) * guided_velocity(pair.at(sigma), x, sigma, text, empty_text, cfg)
        if callback is not None:
            callback(step, x)
    return x
