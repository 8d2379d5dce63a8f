"""The networks that `comfy_stack.py` measures on: the shapes of a model, a few blocks of it, and what they are fed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """A model of ComfyUI's in the shapes of a published one.

    Attributes:
        make: (options, operations) -> the network on torch's meta device.
        targets: the layers that LoRAs change; a `*` stands for a block's number.
        shift: the multiplier of timesteps that the network is told, beside a shift.
        prompt: the shape of embedded texts.
        pooled: how wide the text that goes beside them is; 0 for none.
        latents: tokens -> the shape of latents that are cut into so many; the small ones are the first columns.
    """

    make: Callable[[argparse.Namespace, Any], nn.Module]
    targets: tuple[str, ...]
    shift: float
    prompt: tuple[int, ...]
    pooled: int
    latents: Callable[[int], tuple[int, ...]]

    def positive(self) -> list[list[Any]]:
        """Return a prompt of random texts."""
        beside = {"pooled_output": torch.randn(1, self.pooled)} if self.pooled else {}
        return [[torch.randn(self.prompt), beside]]

    def layers(self, shapes: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
        """Return the module path -> shape of the weight of every layer that LoRAs change."""
        found = {}
        for target in self.targets:
            before, _, behind = target.partition("*")
            for name, weight in shapes.items():
                number = name.removeprefix(before).removesuffix(f"{behind}.weight")
                if number.isdigit():
                    found[name.removesuffix(".weight")] = (weight.shape[0], weight.shape[1])
        return found


def _wan(options: argparse.Namespace, operations: Any) -> nn.Module:
    import comfy.ldm.wan.model

    return comfy.ldm.wan.model.WanModel(
        dim=options.width,
        ffn_dim=options.ffn,
        num_heads=options.width // 128,
        num_layers=options.blocks,
        text_dim=4096,
        cross_attn_norm=True,
        device="meta",
        operations=operations,
    )


def _flux(options: argparse.Namespace, operations: Any) -> nn.Module:
    """Make as many double as single blocks; the width of Flux itself is 3072."""
    import comfy.ldm.flux.model

    return comfy.ldm.flux.model.Flux(
        in_channels=16,
        out_channels=16,
        patch_size=2,
        vec_in_dim=768,
        context_in_dim=4096,
        hidden_size=options.width,
        mlp_ratio=4.0,
        num_heads=options.width // 128,
        depth=options.blocks,
        depth_single_blocks=options.blocks,
        axes_dim=[16, 56, 56],
        theta=10000,
        qkv_bias=True,
        guidance_embed=True,
        txt_ids_dims=[],
        device="meta",
        operations=operations,
    )


_WAN_LAYERS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o")
_WAN_LAYERS += ("cross_attn.q", "cross_attn.k", "cross_attn.v", "cross_attn.o", "ffn.0", "ffn.2")
_FLUX_STREAM = ("attn.qkv", "attn.proj", "mlp.0", "mlp.2")

# Patches are 2x2; eight wide keeps every number of tokens that is a multiple of 64 possible.
NETWORKS: Mapping[str, Network] = {
    "wan": Network(
        _wan,
        tuple(f"blocks.*.{layer}" for layer in _WAN_LAYERS),
        1000.0,
        (1, 512, 4096),
        0,
        lambda tokens: (1, 16, 4, 32, 2 * (tokens // 64)),
    ),
    "flux": Network(
        _flux,
        (
            *(f"double_blocks.*.{stream}_{layer}" for stream in ("img", "txt") for layer in _FLUX_STREAM),
            *(f"single_blocks.*.{layer}" for layer in ("linear1", "linear2")),
        ),
        1.0,
        (1, 256, 4096),
        768,
        lambda tokens: (1, 16, 64, 2 * (tokens // 32)),
    ),
}
