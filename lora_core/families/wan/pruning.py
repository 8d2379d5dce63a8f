"""A Wan network made narrower for a training: heads and feed-forward channels that weigh least are cut.

LoRAM (Zhang et al. 2025, arXiv 2502.13533) trains a LoRA on such a network and uses it on the whole one, with zeros
where channels were cut. The residual stream keeps its width, so every layer's other side stays as it is.

Letters: O outputs, I inputs. What is cut is told by weight norms alone. The norms of queries and keys take their mean
over the heads that stay, with their gain as it is: so a cut network is the whole one with those heads' rows and biases
zero and the gain of these two norms by the root of the share that stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..family import Kept

#: An attention's projections into heads, and the norms over all of them, as far as it has them.
_INTO_HEADS = ("to_q", "to_k", "to_v", "add_k_proj", "add_v_proj")
_NORMS = ("norm_q", "norm_k", "norm_added_k")
_NATIVE = {"to_q": "q", "to_k": "k", "to_v": "v", "add_k_proj": "k_img", "add_v_proj": "v_img"}


def prune_width(network: nn.Module, share: float) -> dict[str, Kept]:
    """Cut a share of the heads and feed-forward channels of every block, in place; return target -> what is left of it.

    Args:
        network: a diffusers module whose submodules may be replaced; tensors it shares with others are only read.
        share: above 0 and below 1; at least one head and one channel of each layer stay.
    """
    kept: dict[str, Kept] = {}
    blocks: Any = network.blocks
    for number, block in enumerate(blocks):
        for name, attention in (("self_attn", block.attn1), ("cross_attn", block.attn2)):
            channels = _prune_attention(attention, share)
            for layer, own in _NATIVE.items():
                if getattr(attention, layer, None) is not None:
                    kept[f"blocks.{number}.{name}.{own}"] = Kept(rows=channels)
            kept[f"blocks.{number}.{name}.o"] = Kept(columns=channels)
        channels = _prune_ffn(block.ffn, share)
        kept[f"blocks.{number}.ffn.0"] = Kept(rows=channels)
        kept[f"blocks.{number}.ffn.2"] = Kept(columns=channels)
    return kept


def _prune_attention(attention: Any, share: float) -> Tensor:
    """Cut heads; return the channels that stay."""
    heads, width = attention.heads, attention.inner_dim // attention.heads
    layers = [getattr(attention, name) for name in _INTO_HEADS if getattr(attention, name, None) is not None]
    sizes = sum(_weight(layer).float().square().unflatten(0, (heads, width)).sum(dim=(1, 2)) for layer in layers)
    sizes = sizes + _weight(attention.to_out[0]).float().square().unflatten(1, (heads, width)).sum(dim=(0, 2))
    chosen = _largest(sizes, share)
    channels = (chosen[:, None] * width + torch.arange(width)).flatten()
    for name in _INTO_HEADS:
        if getattr(attention, name, None) is not None:
            setattr(attention, name, _cut(getattr(attention, name), rows=channels))
    for name in _NORMS:
        if getattr(attention, name, None) is not None:
            setattr(attention, name, _cut_norm(getattr(attention, name), channels))
    attention.to_out[0] = _cut(attention.to_out[0], columns=channels)
    attention.heads = len(chosen)
    attention.inner_dim = attention.kv_inner_dim = len(channels)
    return channels


def _prune_ffn(ffn: Any, share: float) -> Tensor:
    into, out_of = ffn.net[0].proj, ffn.net[2]
    sizes = _weight(into).float().square().sum(dim=1) * _weight(out_of).float().square().sum(dim=0)
    channels = _largest(sizes, share)
    ffn.net[0].proj, ffn.net[2] = _cut(into, rows=channels), _cut(out_of, columns=channels)
    return channels


def _largest(sizes: Tensor, share: float) -> Tensor:
    """Return which stay, in their order; the first ones where there are no values to choose by (a rehearsal)."""
    count = max(1, round((1 - share) * len(sizes)))
    if sizes.is_meta:
        return torch.arange(count)
    return sizes.topk(count).indices.sort().values


def _cut(layer: Any, rows: Tensor | None = None, columns: Tensor | None = None) -> nn.Linear:
    weight, bias = _weight(layer), layer.bias
    if rows is not None:
        weight, bias = _picked(weight, 0, rows), None if bias is None else _picked(bias.detach(), 0, rows)
    if columns is not None:
        weight = _picked(weight, 1, columns)
    cut = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    cut.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        cut.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return cut


def _cut_norm(norm: Any, channels: Tensor) -> nn.RMSNorm:
    """Cut a norm; its epsilon stands for what it was in a mean over all, most of them zero."""
    whole, weight = norm.weight.shape[0], _picked(norm.weight.detach(), 0, channels)
    cut = nn.RMSNorm(len(channels), eps=norm.eps * whole / len(channels), device="meta")
    cut.weight = nn.Parameter(weight, requires_grad=False)
    return cut


def _picked(tensor: Tensor, axis: int, indices: Tensor) -> Tensor:
    if tensor.is_meta:
        shape: Sequence[int] = [len(indices) if i == axis else size for i, size in enumerate(tensor.shape)]
        return tensor.new_empty(shape)
    return tensor.index_select(axis, indices.to(tensor.device))


def _weight(layer: Any) -> Tensor:
    weight: Tensor = layer.weight.detach()
    if not weight.is_floating_point() or weight.element_size() < 2 or type(layer) is not nn.Linear:
        what = f"a {type(layer).__name__} of {weight.dtype} cannot be cut"
        raise ModelError("prune_width", what, remedy="Open the model from weights of 16 or 32 bits")
    return weight
