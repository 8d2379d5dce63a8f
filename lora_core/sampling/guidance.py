"""What a Wan network predicts at one noise level: the velocity, with guidance where it is asked for.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L tokens; v and sigma as in
`solvers.py`. Dtype policy: latents and guidance in float32, the network in its own dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..families.base import ModelSpec
from ..families.condition import Condition


def guided_velocity(
    network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float, cfg: float, condition: Condition
) -> Tensor:
    """Predict v (B, C, F, H, W) for normalised latents x of the same shape.

    Guidance 1 costs one forward pass; any other value two: v_uncond + cfg (v - v_uncond) (Ho and Salimans 2022,
    arXiv 2207.12598, equation 6 with cfg = 1 + w).
    """
    inputs = _network_inputs(spec, x, sigma, condition)
    v = _forward(network, inputs, condition.positive, condition.image_embeds)
    if cfg == 1:
        return v
    assert condition.negative is not None, "sample() has checked it"
    v_uncond = _forward(network, inputs, condition.negative, condition.image_embeds)
    return v_uncond + cfg * (v - v_uncond)


def _forward(network: nn.Module, inputs: dict[str, Tensor], text: Tensor, image_embeds: Tensor | None) -> Tensor:
    batch = len(inputs["hidden_states"])
    v = network(
        **inputs,
        encoder_hidden_states=text.expand(batch, -1, -1),
        encoder_hidden_states_image=None if image_embeds is None else image_embeds.expand(batch, -1, -1),
        return_dict=False,
    )[0]
    return v.float()


def _network_inputs(spec: ModelSpec, x: Tensor, sigma: float, condition: Condition) -> dict[str, Tensor]:
    """Return hidden_states (B, channels in, F, H, W) and timestep: (B,), or for TI2V-5B (B, L), one per token."""
    hidden = condition.keep_known(x).to(condition.positive.dtype)
    if condition.image_channels is not None:
        hidden = torch.cat([hidden, condition.image_channels.expand(len(x), -1, -1, -1, -1)], dim=1)
    timestep = torch.full((len(x),), 1000 * sigma, dtype=torch.float32, device=x.device)
    if spec.expand_timesteps:
        timestep = _timestep_per_token(spec, timestep, x, condition)
    return {"hidden_states": hidden, "timestep": timestep}


def _timestep_per_token(spec: ModelSpec, timestep: Tensor, x: Tensor, condition: Condition) -> Tensor:
    """Give every token (B, L) the timestep of its frame; a frame that is known carries no noise, so its is 0."""
    _, _, num_latent_frames, height, width = x.shape
    timestep_BF = timestep[:, None].repeat(1, num_latent_frames)
    if condition.known_frames is not None:
        timestep_BF[:, : condition.known_frames.shape[2]] = 0
    _, patch_height, patch_width = spec.patch_size
    return timestep_BF.repeat_interleave((height // patch_height) * (width // patch_width), dim=1)
