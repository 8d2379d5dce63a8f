"""How a HunyuanVideo network is called: latents and text in, velocity out.

A text is one tensor (B, 1 + L, D): in its first row CLIP's pooled vector with zeros behind it, then Llama's states,
zero beyond the last token. So it is cached, padded and batched as the text of any other model.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L tokens, D text width, V width of
the pooled vector; v and sigma as in `sampling/solvers.py`.
Dtype policy: latents in float32, the network in its own dtype.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base import ModelSpec
from ..condition import Condition


class HunyuanText(NamedTuple):
    """A text as the network takes it.

    Attributes:
        states: (B, L, D), L the tokens of the longest one.
        valid: (B, L) True where a token is the text's own.
        pooled: (B, V).
    """

    states: Tensor
    valid: Tensor
    pooled: Tensor


def forward(
    network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float | Tensor, text: Tensor, condition: Condition
) -> Tensor:
    """Predict v (B, C, F, H, W) for normalised latents x of the same shape; see `family.Forward`."""
    batch = len(x)
    told = apart(text.expand(batch, -1, -1), spec.shapes["vector_in.in_layer"][1])
    timestep = torch.as_tensor(1000 * sigma, dtype=torch.float32, device=x.device).expand(batch)
    v = network(
        hidden_states=x.to(text.dtype),
        timestep=timestep,
        encoder_hidden_states=told.states,
        encoder_attention_mask=told.valid,
        pooled_projections=told.pooled,
        guidance=_guidance(spec, condition, timestep),
        return_dict=False,
    )[0]
    return v.float()


def _guidance(spec: ModelSpec, condition: Condition, timestep: Tensor) -> Tensor | None:
    """Return what is told of guidance, (B,) in thousandths as timesteps are; None to a network that is told none."""
    if spec.embedded_guidance is None:
        return None
    if condition.embedded_guidance is None:
        return torch.full_like(timestep, 1000 * spec.embedded_guidance)
    return 1000 * condition.embedded_guidance.to(timestep).expand_as(timestep)


def packed(states: Tensor, pooled: Tensor, max_tokens: int) -> Tensor:
    """Put one text's states (L, D) and pooled vector (V,) into one tensor (1 + max_tokens, D), zeros behind both."""
    width = states.shape[-1]
    rows = F.pad(states, (0, 0, 0, max_tokens - len(states)))
    return torch.cat([F.pad(pooled.to(states), (0, width - len(pooled)))[None], rows])


def apart(text: Tensor, pooled_width: int) -> HunyuanText:
    """Take texts (B, 1 + L, D) apart, and leave out the rows that are padding in all of them."""
    states, pooled = text[:, 1:], text[:, 0, :pooled_width]
    if text.is_meta:  # a rehearsal has shapes and no values
        return HunyuanText(states, torch.ones(states.shape[:2], dtype=torch.bool, device=text.device), pooled)
    place = torch.arange(1, states.shape[1] + 1, device=text.device)
    counts = ((states != 0).any(dim=-1) * place).amax(dim=1).clamp_min(1)
    longest = int(counts.max())
    return HunyuanText(states[:, :longest], place[:longest] <= counts[:, None], pooled)
