"""A layer that multiplies with its weight, under a stack: on which side it is changed, and how it computes there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base_weights import BaseKind, Layer, base_form
from .fused import FusedDelta, Strengths, product_dtype
from .patched import PatchedModule, Run, compute_dtype

Side = Literal["activation", "weight"]
SideChoice = Literal["auto", "activation", "weight"]


def choose_side(
    num_tokens: int, num_inputs: int, num_outputs: int, base: BaseKind = "float", *, is_thin: bool = True
) -> Side:
    """Choose the cheaper side for one call of a layer.

    The branch takes `R T (I + O)` multiplications, the changed weight `R I O`: the ranks cancel, and the weight side
    wins from `I O / (I + O)` tokens on. A base that is unpacked at every call hands over a copy that can be changed in
    place, which halves the weight side's memory traffic and, with it, the break-even. A base multiplied as it is packed
    would lose that by unpacking, and one out of reach cannot be changed. A change that is not thin costs the activation
    side a second full product.
    """
    if base in ("low_bit", "elsewhere"):
        return "activation"
    if not is_thin:
        return "weight"
    break_even = num_inputs * num_outputs / (num_inputs + num_outputs)
    if base == "dequantised":
        break_even /= 2
    return "weight" if num_tokens >= break_even else "activation"


class Scratch:
    """One buffer per device and dtype to lend, as large as the largest weight that has asked.

    A lent tensor is good until the next is asked for: a layer's W_eff is used up before the next layer runs.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def lend(self, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return an uninitialised contiguous tensor."""
        # Autograd would hold on to the tensor beyond the call, and a compiler plans its own memory.
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return torch.empty(shape, dtype=dtype, device=device)
        key, size = (device, dtype), math.prod(shape)
        if key not in self._buffers or self._buffers[key].numel() < size:
            self._buffers.pop(key, None)
            with torch.inference_mode(False):
                self._buffers[key] = torch.empty(size, dtype=dtype, device=device)
        return self._buffers[key][:size].view(shape)

    @property
    def num_bytes(self) -> int:
        return sum(buffer.numel() * buffer.element_size() for buffer in self._buffers.values())


@dataclass(frozen=True)
class Product:
    """The product that a kind of layer computes.

    Attributes:
        multiply: (layer, input, weight of the same shape) -> the product, without bias.
        num_tokens: (layer, input) -> how many rows the product has.
    """

    multiply: Callable[[Any, Tensor, Tensor], Tensor]
    num_tokens: Callable[[Any, Tensor], int]


_LINEAR = Product(
    lambda layer, x, weight: F.linear(x, weight),
    lambda layer, x: x.numel() // layer.in_features,
)
_CONVOLUTION = Product(
    lambda layer, x, weight: layer._conv_forward(x, weight, None),  # knows the padding modes
    lambda layer, x: x.numel() // (layer.in_channels * math.prod(layer.stride)),
)


def product_of(layer: Layer) -> Product:
    """Return the product that a layer computes."""
    return _LINEAR if isinstance(layer, nn.Linear) else _CONVOLUTION


def multiplies(module: nn.Module) -> TypeGuard[Layer]:
    """Return whether `module` is a linear or convolution layer; anything else merely reads its parameters."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return module.groups == 1
    return isinstance(module, nn.Linear)


def patch(
    module: nn.Module,
    deltas: Mapping[str, FusedDelta],
    strengths: Strengths,
    side: SideChoice = "auto",
    scratch: Scratch | None = None,
) -> PatchedModule:
    """Return `module` with the changes of a stack, ready to `install`; `deltas` are by parameter name."""
    if "weight" in deltas and multiplies(module):
        return PatchedProduct(module, deltas, strengths, side, scratch or Scratch())
    return PatchedModule(module, deltas, strengths)


class PatchedProduct(PatchedModule):
    """A linear or convolution layer whose weight a stack changes."""

    def __init__(
        self,
        layer: Layer,
        deltas: Mapping[str, FusedDelta],
        strengths: Strengths,
        side: SideChoice,
        scratch: Scratch,
    ) -> None:
        super().__init__(layer, deltas, strengths)
        self.layer = layer
        self.side = side
        self._product = product_of(layer)
        self._scratch = scratch
        self._form = base_form(layer)
        is_own = getattr(self.original, "__func__", None) is type(layer).forward
        #: False where somebody else has replaced the layer's forward and may do anything in there.
        self._may_bypass = is_own and isinstance(layer, nn.Linear)

    def _compute(self, acting: dict[str, FusedDelta], x: Tensor, run: Run) -> Any:
        weight = acting.pop("weight", None)
        shadows = {name: self._changed(name, delta, x) for name, delta in acting.items()}
        if weight is None:
            return run(shadows)
        kind = self._base_kind(x)
        if self._side(weight, x, kind) == "activation":
            return self._on_activations(weight, x, kind, shadows, run)
        return self._on_weight(weight, x, kind, shadows, run)

    def _by_halves(
        self, acting: dict[str, FusedDelta], x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Multiply the whole batch with the base at once where the change is a branch, which one half then gets."""
        delta, half = acting["weight"] if len(acting) == 1 and "weight" in acting else None, len(x) // 2
        if delta is None or not delta.is_thin or delta.needs_base:
            return super()._by_halves(acting, x, args, kwargs)
        if self._side(delta, x[half:], self._base_kind(x)) == "weight":
            return super()._by_halves(acting, x, args, kwargs)
        y = self.original(*args, **kwargs).contiguous()
        delta.add_branch(x[half:], y[half:], self.strengths)
        return y

    def _base_kind(self, x: Tensor) -> BaseKind:
        if self.layer.weight.device != x.device:
            return "elsewhere"
        kind = self._form.kind(self.layer)
        return kind if kind == "float" or self._may_bypass else "elsewhere"

    def _side(self, delta: FusedDelta, x: Tensor, kind: BaseKind) -> Side:
        if self.side != "auto" and kind != "elsewhere":
            return self.side
        num_outputs, *inputs = delta.shape
        num_tokens = self._product.num_tokens(self.layer, x)
        return choose_side(num_tokens, math.prod(inputs), num_outputs, kind, is_thin=delta.is_thin)

    def _on_weight(self, delta: FusedDelta, x: Tensor, kind: BaseKind, shadows: dict[str, Tensor], run: Run) -> Any:
        if kind == "float":
            weight = self.layer.weight.detach()
            scratch = self._scratch.lend(weight.shape, compute_dtype(weight, x), x.device)
            return run({**shadows, "weight": delta.changed_weight(weight, self.strengths, scratch)})
        weight = self._form.read(self.layer, product_dtype(x.dtype, x.device))
        weight = delta.changed_weight(weight, self.strengths, out=weight).to(x.dtype)
        bias = self._bias(shadows)
        return F.linear(x, weight, None if bias is None else bias.to(x.dtype))

    def _on_activations(
        self, delta: FusedDelta, x: Tensor, kind: BaseKind, shadows: dict[str, Tensor], run: Run
    ) -> Any:
        layer, bias = self.layer, self._bias(shadows)
        if kind == "float" and self._may_bypass and type(layer).forward is nn.Linear.forward:
            return delta.linear(x, layer.weight, bias, self.strengths)
        return delta.add_branch(
            x,
            run(shadows),
            self.strengths,
            read_weight=lambda: self._form.read(layer, torch.float32),
            bias=bias,
            multiply=lambda x, weight: self._product.multiply(layer, x, weight),
        )

    def _bias(self, shadows: Mapping[str, Tensor]) -> Tensor | None:
        return shadows["bias"] if "bias" in shadows else self._form.bias(self.layer)
