"""What a network predicts at one noise level: the velocity, with guidance where it is asked for.

Letters: B batch, C latent channels, F latent frames, H W latent height and width; v and sigma as in `solvers.py`.
Dtype policy: latents and guidance in float32, the network in its own dtype.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..families.base import ModelSpec
from ..families.condition import Condition
from ..families.family import Forward


def guided_velocity(
    forward: Forward, network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float, cfg: float, condition: Condition
) -> Tensor:
    """Predict v (B, C, F, H, W) for normalised latents x of the same shape.

    Guidance 1 costs one forward pass; any other value two: v_uncond + cfg (v - v_uncond) (Ho and Salimans 2022,
    arXiv 2207.12598, equation 6 with cfg = 1 + w).
    """
    v = forward(network, spec, x, sigma, condition.positive, condition)
    if cfg == 1:
        return v
    assert condition.negative is not None, "sample() has checked it"
    v_uncond = forward(network, spec, x, sigma, condition.negative, condition)
    return v_uncond + cfg * (v - v_uncond)
