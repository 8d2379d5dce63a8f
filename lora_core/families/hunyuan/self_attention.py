"""Another self-attention in a HunyuanVideo network's blocks: a processor beside the one that is there, and out again.

The attention of every block, double or single, is one over the video's tokens and the text's behind them. What computes
it is told how many of each text's tokens are its own. Blocks are numbered through, the double ones first.

Letters: B batch, H heads, L tokens of the video and the text, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..self_attention import Attend, NativeAttention, processors_replaced


class ChosenSelfAttention:
    """A processor that asks at each call what computes the attention; the processor it stands for, if nothing does."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, usual: Callable[..., tuple[Tensor, Tensor]], choose: Callable[[], Attend | None]) -> None:
        self.usual = usual
        self.choose = choose

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        assert encoder_hidden_states is not None, "video and text attend together"
        attend = self.choose()
        if attend is None:
            return self.usual(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        num_video = hidden_states.shape[1]
        q, k, v = _projected(attn, hidden_states, encoder_hidden_states, image_rotary_emb)  # (B, H, L, D)
        out = attend(q, k, v, encoder_hidden_states.shape[1], _num_text_valid(attention_mask, num_video))
        out = out.transpose(1, 2).flatten(2).type_as(q)
        video, text = out[:, :num_video], out[:, num_video:]
        if getattr(attn, "to_out", None) is not None:
            video = attn.to_out[1](attn.to_out[0](video))
        return video, attn.to_add_out(text) if getattr(attn, "to_add_out", None) is not None else text


def _projected(
    attn: Any, video: Tensor, text: Tensor, rotary: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k and v (B, H, L, D) of both; a single block has one set of layers for them, a double block two."""
    layers = (attn.to_q, attn.to_k, attn.to_v), (attn.norm_q, attn.norm_k, None)
    others = layers
    if attn.add_q_proj is not None:
        others = (
            (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj),
            (attn.norm_added_q, attn.norm_added_k, None),
        )
    of_video = [_heads(attn, video, *pair) for pair in zip(*layers, strict=True)]
    of_text = [_heads(attn, text, *pair) for pair in zip(*others, strict=True)]
    if rotary is not None:
        of_video[:2] = (_rotated(x, *rotary) for x in of_video[:2])
    q, k, v = (torch.cat(pair, dim=1).transpose(1, 2) for pair in zip(of_video, of_text, strict=True))
    return q, k, v


def _heads(attn: Any, x: Tensor, layer: nn.Module, norm: nn.Module | None) -> Tensor:
    projected: Tensor = layer(x).unflatten(2, (attn.heads, -1))
    return projected if norm is None else norm(projected)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring pairs of x (B, L, H, D) by the angles (L, D) of their places, in float32."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return (x.float() * cos[:, None] + turned * sin[:, None]).type_as(x)


def _num_text_valid(mask: Tensor | None, num_video: int) -> Tensor | None:
    """Return (B,) how many text tokens of each item are its own, of a mask (B, 1, 1, L); None where all are.

    diffusers makes a mask of every text. That of one text alone hides nothing: `forward` has left its padding out.
    """
    return None if mask is None or len(mask) == 1 else mask[:, 0, 0, num_video:].sum(dim=1)


def _stacks(network: nn.Module) -> tuple[Any, Any]:
    bare: Any = getattr(network, "_orig_mod", network)  # what torch.compile wraps
    return bare.transformer_blocks, bare.single_transformer_blocks


def head_width(network: nn.Module) -> int:
    """Return the width of a head in a network's blocks."""
    attn = _stacks(network)[0][0].attn
    return attn.inner_dim // attn.heads


def replace_self_attention(network: nn.Module, choose: Callable[[int], Attend | None]) -> AbstractContextManager[None]:
    """Let `choose` decide about the self-attention of each block; see `ReplaceSelfAttention`."""
    return processors_replaced((block.attn for block in chain(*_stacks(network))), ChosenSelfAttention, choose)


#: Text first in both types of blocks: `DoubleStreamBlock` joins them so, and `HunyuanVideo` before the single blocks.
NATIVE = NativeAttention(
    network="comfy.ldm.hunyuan_video.model.HunyuanVideo",
    tokens=("text", "video"),
    blocks={"double": "double_blocks.", "single": "single_blocks."},
    head_width=lambda network: network.hidden_size // network.num_heads,
)
