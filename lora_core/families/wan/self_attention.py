"""Another self-attention in a Wan network's blocks: a processor beside the one that is there, and out again.

Letters: B batch, H heads, L tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..self_attention import Attend, NativeAttention, processors_replaced

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanAttention


class ChosenSelfAttention:
    """A processor that asks at each call what computes the attention; the processor it stands for, if nothing does."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, usual: Callable[..., Tensor], choose: Callable[[], Attend | None]) -> None:
        self.usual = usual
        self.choose = choose

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        assert encoder_hidden_states is None, "this is self-attention"
        assert attention_mask is None, "nothing masks it"
        attend = self.choose()
        if attend is None:
            return self.usual(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        q, k, v = _projected(attn, hidden_states)  # (B, L, H D)
        q, k, v = (x.unflatten(2, (attn.heads, -1)) for x in (attn.norm_q(q), attn.norm_k(k), v))
        if rotary_emb is not None:
            q, k = _rotated(q, *rotary_emb), _rotated(k, *rotary_emb)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        out = out.transpose(1, 2).flatten(2).type_as(q)
        return attn.to_out[1](attn.to_out[0](out))


def _projected(attn: WanAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if getattr(attn, "fused_projections", False):
        return attn.to_qkv(x).chunk(3, dim=-1)
    return attn.to_q(x), attn.to_k(x), attn.to_v(x)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring pairs of x (B, L, H, D) by the angles of their places; the tables hold each angle twice."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).type_as(x)


def head_width(network: nn.Module) -> int:
    """Return the width of a head in a network's blocks."""
    blocks: Any = getattr(network, "_orig_mod", network).blocks
    return blocks[0].attn1.inner_dim // blocks[0].attn1.heads


def replace_self_attention(network: nn.Module, choose: Callable[[int], Attend | None]) -> AbstractContextManager[None]:
    """Let `choose` decide about the self-attention of each block; see `ReplaceSelfAttention`."""
    blocks: Any = getattr(network, "_orig_mod", network).blocks  # what torch.compile wraps
    return processors_replaced((block.attn1 for block in blocks), ChosenSelfAttention, choose)


NATIVE = NativeAttention(
    network="comfy.ldm.wan.model.WanModel",
    tokens=("video",),
    blocks={"double": "blocks."},  # it calls them so though there is no other type
    head_width=lambda network: network.dim // network.num_heads,
)
