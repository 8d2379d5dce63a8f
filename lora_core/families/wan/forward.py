"""How a Wan network is called: latents, text and picture in, velocity out.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L tokens; v and sigma as in
`sampling/solvers.py`. Dtype policy: latents in float32, the network in its own dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base import ModelSpec
from ..condition import Condition


def forward(
    network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float | Tensor, text: Tensor, condition: Condition
) -> Tensor:
    """Predict v (B, C, F, H, W) for normalised latents x of the same shape; see `family.Forward`."""
    batch = len(x)
    hidden = condition.keep_known(x).to(text.dtype)
    if condition.image_channels is not None:
        hidden = torch.cat([hidden, condition.image_channels.expand(batch, -1, -1, -1, -1)], dim=1)
    timestep = torch.as_tensor(1000 * sigma, dtype=torch.float32, device=x.device).expand(batch)
    if spec.expand_timesteps:
        timestep = _timestep_per_token(spec, timestep, x, condition)
    v = network(
        hidden_states=hidden,
        timestep=timestep,
        encoder_hidden_states=text.expand(batch, -1, -1),
        encoder_hidden_states_image=_image_embeds(spec, condition, batch),
        return_dict=False,
    )[0]
    return v.float()


def _image_embeds(spec: ModelSpec, condition: Condition, batch: int) -> Tensor | None:
    """Return CLIP features (B, L, D), or (2B, L/2, D) for a network that joins two pictures' features itself."""
    if condition.image_embeds is None:
        return None
    embeds = condition.image_embeds.expand(batch, -1, -1)
    return embeds.reshape(2 * batch, -1, embeds.shape[-1]) if spec.first_and_last else embeds


def _timestep_per_token(spec: ModelSpec, timestep: Tensor, x: Tensor, condition: Condition) -> Tensor:
    """Give every token (B, L) the timestep of its frame; a frame that is known carries no noise, so its is 0."""
    _, _, num_latent_frames, height, width = x.shape
    timestep_BF = timestep[:, None].repeat(1, num_latent_frames)
    if condition.known_frames is not None:
        timestep_BF[:, : condition.known_frames.shape[2]] = 0
    _, patch_height, patch_width = spec.patch_size
    return timestep_BF.repeat_interleave((height // patch_height) * (width // patch_width), dim=1)
