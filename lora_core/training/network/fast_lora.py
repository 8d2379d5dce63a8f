"""A LoRA layer's forward and backward by hand, over peft's own parameters: what peft's branch costs, won back.

peft runs its branch as a second network: the input is copied into float32, the branch's output made, scaled, added to
the layer's and cast back, each a tensor as large as the activations. Here the product goes straight into the layer's
own output, and the gradient of the input is made in one buffer. Imports peft, so it is itself imported where used.

Letters: N tokens of the whole batch, I input channels, O output channels, R rank.
Dtype policy: products in the activation's dtype; parameters and their gradients float32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear as PeftLora
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .adapters import ADAPTER


class FastLora(PeftLora):
    """peft's layer, with the fast product wherever that means the same."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or not _is_plain(self, x):
            output: Tensor = super().forward(x, *args, **kwargs)
            return output
        down: Any = self.lora_A[ADAPTER].weight
        up: Any = self.lora_B[ADAPTER].weight
        return lora_linear(x, down, up, self.scaling[ADAPTER], self.base_layer)


def make_fast(module: nn.Module) -> None:
    """Give one of peft's plain LoRA layers the fast product; a layer of another form stays as it is."""
    if type(module) is PeftLora and ADAPTER not in module.lora_variant:
        module.__class__ = FastLora


def lora_linear(x: Tensor, down: Tensor, up: Tensor, scale: float, layer: nn.Module) -> Tensor:
    """Return `layer(x) + scale * (x @ down.T) @ up.T` of a frozen linear layer: (..., I) -> (..., O)."""
    product: Tensor = _LoraLinear.apply(x, down, up, scale, layer)
    return product


def _is_plain(module: PeftLora, x: Tensor) -> bool:
    """Say whether nothing is asked of a layer but its own product and its one adapter's."""
    if (
        module.disable_adapters
        or module.merged
        or module.active_adapters != [ADAPTER]
        or (not x.is_meta and torch.is_autocast_enabled(x.device.type))  # there is none for tensors without data
    ):
        return False
    if module.training and not isinstance(module.lora_dropout[ADAPTER], nn.Identity):
        return False
    layer = module.base_layer
    if layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer):
        return False
    if hasattr(layer, "dequantised_weight"):
        return True
    return type(layer) is nn.Linear and layer.weight.dtype == x.dtype and not layer.weight.requires_grad


def _weight(layer: Any, dtype: torch.dtype) -> Tensor:
    """Return the weight (O, I) of a frozen layer, unpacked for the moment where it is packed."""
    weight: Tensor = layer.dequantised_weight(dtype) if hasattr(layer, "dequantised_weight") else layer.weight
    return weight


class _LoraLinear(torch.autograd.Function):
    """y = x W^T + b + s (x A^T) B^T; of the input's size nothing is kept but the input itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor, up: Tensor, scale: float, layer: Any) -> Tensor:
        x_NI = x.flatten(0, -2)
        h_NR = x_NI @ down.to(x.dtype).T
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        y_NO = F.linear(x_NI, _weight(layer, x.dtype), bias)
        y_NO.addmm_(h_NR, up.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(x, down, up, h_NR)
        ctx.scale, ctx.layer = scale, layer
        return y_NO.unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, down, up, h_NR = ctx.saved_tensors
        dy_NO = dy.flatten(0, -2)
        g_NR = (dy_NO @ up.to(dy.dtype)).mul_(ctx.scale)
        d_down = (g_NR.T @ x.flatten(0, -2)).to(down.dtype)
        d_up = (dy_NO.T @ h_NR).to(up.dtype).mul_(ctx.scale)
        dx = None
        if ctx.needs_input_grad[0]:
            dx_NI = dy_NO @ _weight(ctx.layer, dy.dtype)
            dx = dx_NI.addmm_(g_NR, down.to(dy.dtype)).view_as(x)
        return dx, d_down, d_up, None, None
