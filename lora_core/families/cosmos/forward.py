"""How a Cosmos network is called: latents, text and known frames in, velocity out.

NVIDIA's model predicts in the terms of EDM, with sigma_EDM = sigma / (1 - sigma): its input is x_EDM / (1 + sigma_EDM),
which is x, and its clean prediction is x - sigma v. So what it gives is the velocity of rectified flow, as diffusers'
`Cosmos2VideoToWorldPipeline` uses it.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L tokens; v and sigma as in
`sampling/solvers.py`. Dtype policy: latents in float32, the network in its own dtype, noise levels too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..base import ModelSpec
from ..condition import Condition
from ..pieces.text import MAX_TOKENS

#: The noise that a known frame is said to carry, sigma_EDM, unless told otherwise; it carries none.
KNOWN_SIGMA = 1e-4


def forward(
    network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float | Tensor, text: Tensor, condition: Condition
) -> Tensor:
    """Predict v (B, C, F, H, W) for normalised latents x of the same shape; see `family.Forward`."""
    batch = len(x)
    hidden = condition.keep_known(x).to(text.dtype)
    level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(batch)
    v = network(
        hidden_states=torch.cat([hidden, _masks(hidden, condition.num_known)], dim=1),
        timestep=_levels(level, x.shape[2], condition).to(text.dtype),
        encoder_hidden_states=text.expand(batch, -1, -1),
        attention_mask=_padding(text),
        fps=spec.default_clip.fps if condition.fps is None else condition.fps,
        return_dict=False,
    )[0]
    return v.float()


def _padding(text: Tensor) -> Tensor | None:
    """Return what is added to the logits of each token of a text (1, L) that has one pad for all the equal ones behind.

    Pads are zeros, and no layer has a bias: k equal keys weigh as much as one whose logit is larger by log(k).
    """
    num_tokens = text.shape[1]
    if num_tokens >= MAX_TOKENS:
        return None
    logits = text.new_zeros(1, num_tokens)
    logits[:, -1] = math.log(MAX_TOKENS - num_tokens + 1)
    return logits


def _masks(hidden: Tensor, num_known: int) -> Tensor:
    """Return two channels (B, 2, F, H, W): 1 where a frame is known, and 0 where nothing is padded."""
    masks = torch.zeros_like(hidden[:, :2])
    masks[:, 0, :num_known] = 1
    return masks


def _levels(level: Tensor, num_latent_frames: int, condition: Condition) -> Tensor:
    """Return the noise level of each clip (B,), or where some frames are known of each frame (B, 1, F, 1, 1)."""
    if not condition.num_known:
        return level
    known = KNOWN_SIGMA if condition.known_sigma is None else condition.known_sigma
    levels_BF = level[:, None].repeat(1, num_latent_frames)
    levels_BF[:, : condition.num_known] = known / (1 + known)
    return levels_BF[:, None, :, None, None]
