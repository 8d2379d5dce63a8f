"""Linear layers that keep their frozen weight packed, in 4 or 8 bits, and unpack it whenever it is used.

Letters: O output channels, I input channels.
Dtype policy: statistics are float32 (of nf4 8-bit themselves); a weight is unpacked to the activation's dtype and never
kept, not from the forward to the backward either, which unpacks it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoints.fp8 import dequantise
from ...checkpoints.quiet import quietly
from ...errors import TrainingError
from ..settings.adapter import BaseFormat
from .targets import Layer

#: Packed weight and the statistics it is unpacked with, by name.
Parts = Mapping[str, Tensor]


@dataclass(frozen=True)
class Packing:
    """One form of packed weight.

    Attributes:
        pack: of a weight (O, I), its parts; the one named `packed` holds nearly all the bytes.
        unpack: of the parts, the shape (O, I) and a dtype, the weight again.
    """

    pack: Callable[[Tensor], dict[str, Tensor]]
    unpack: Callable[[Parts, tuple[int, int], torch.dtype], Tensor]


class PackedLinear(nn.Linear):
    """A frozen linear layer `x @ W.T + bias` with W packed: (..., I) -> (..., O).

    `weight` unpacks, so whoever reads it (peft's DoRA does, for its norm) sees what the layer computes with.
    """

    packed: nn.Parameter

    def __init__(self, weight: Tensor, bias: Tensor | None, base_format: BaseFormat) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.base_format = base_format
        self.dtype = weight.dtype
        parts = PACKINGS[base_format].pack(weight)
        self.packed = nn.Parameter(parts.pop("packed"), requires_grad=False)
        self._statistics = tuple(parts)
        self._used_on: torch.device | None = None
        for name, tensor in parts.items():
            self.register_buffer(name, tensor)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # the parameter of an ordinary layer
        return self.dequantised_weight(self.dtype)

    def dequantised_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight (O, I) the layer stands for."""
        parts = {"packed": self.packed.data, **{name: getattr(self, name) for name in self._statistics}}
        if self._used_on is not None:
            parts = {name: part.to(self._used_on, non_blocking=True, copy=True) for name, part in parts.items()}
        return PACKINGS[self.base_format].unpack(parts, (self.out_features, self.in_features), dtype)

    def keep_off(self, device: torch.device) -> None:
        """Keep the packed weight in system memory, and bring it to a device whenever it is used.

        Sound in a backward pass too, which holds no weight but asks for it again.
        """
        self._used_on = device
        if device.type == "meta":
            return
        for tensor in self.parts_off():
            tensor.data = tensor.data.cpu().pin_memory() if device.type == "cuda" else tensor.data.cpu()

    def parts_off(self) -> tuple[Tensor, ...]:
        """Return what stays in system memory when the network goes to a device."""
        if self._used_on is None:
            return ()
        return (self.packed, *(getattr(self, name) for name in self._statistics))

    @property
    def num_packed_bytes(self) -> int:
        """The bytes of the weight as it is kept, statistics included."""
        return self.packed.nbytes + sum(getattr(self, name).nbytes for name in self._statistics)

    def forward(self, x: Tensor) -> Tensor:
        return frozen_linear(x, self)


def frozen_linear(x: Tensor, layer: Any) -> Tensor:
    """Apply a layer that has a `dequantised_weight`, keeping no unpacked weight for the backward."""
    product: Tensor = _FrozenLinear.apply(x, layer)
    return product


class _FrozenLinear(torch.autograd.Function):
    """`F.linear` that saves nothing: a frozen layer's backward asks for its weight alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return F.linear(x, layer.dequantised_weight(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (dy,) = grads
        return dy @ ctx.layer.dequantised_weight(dy.dtype), None


def pack_layers(
    network: nn.Module,
    layers: tuple[Layer, ...],
    base_format: BaseFormat,
    dtypes: Mapping[str, torch.dtype],
    device: torch.device | str | None = None,
    *,
    offload: bool = False,
) -> None:
    """Put a packed layer in the place of each of the layers, one after the other.

    Args:
        network: a copy, whose own layers may be replaced.
        layers: of it.
        base_format: how to pack.
        dtypes: full name of a weight -> the dtype it computes in, where that is not what it is stored in.
        device: where the packed layers shall be.
        offload: let packed weights go back to system memory at once; they are brought to the device to be used.
    """
    if base_format == "nf4":
        bitsandbytes()
    for layer in layers:
        parent_path, _, leaf = layer.path.rpartition(".")
        parent = network.get_submodule(parent_path)
        plain: Any = getattr(parent, leaf)
        weight = unpacked(plain, layer)
        dtype = dtypes.get(f"{layer.path}.weight", weight.dtype)
        bias = None if plain.bias is None else plain.bias.detach().to(device, dtype, copy=True)
        packed = PackedLinear(weight.to(device, dtype), bias, base_format)
        if offload:
            packed.keep_off(packed.packed.device if device is None else torch.device(device))
        setattr(parent, leaf, packed)


def unpacked(layer: Any, named: Layer) -> Tensor:
    """Return a layer's weight in the dtype it computes in, widened where the checkpoint had it packed."""
    if hasattr(layer, "dequantised_weight"):
        weight: Tensor = layer.dequantised_weight(torch.float32 if layer.bias is None else layer.bias.dtype)
        return weight
    if not layer.weight.is_floating_point():
        what = f"the weight of {named.target!r} is packed already, as {type(layer.weight).__name__}"
        raise TrainingError("method qlora", what, remedy="Open the model from weights of 16 bits, or train a lora")
    return layer.weight.detach()


# ------------------------------------------------------------------------------------------- the packings


#: Weights that share one scale in nf4, and scales that share one in turn: QLoRA's (arXiv 2305.14314, section 3).
_BLOCK, _OUTER_BLOCK = 64, 256


def _pack_nf4(weight: Tensor) -> dict[str, Tensor]:
    """Pack to 4-bit normal floats with doubly quantised scales (Dettmers et al. 2023, arXiv 2305.14314, section 3)."""
    functional = bitsandbytes().functional
    if weight.is_meta:  # the library remembers its map for scales on the device of the first use
        functional.quantize_blockwise(torch.zeros(_OUTER_BLOCK))
    packed, state = functional.quantize_4bit(
        weight.contiguous(), blocksize=_BLOCK, compress_statistics=True, quant_type="nf4"
    )
    return {
        "packed": packed,
        "scales": state.absmax,
        "offset": state.offset,
        "code": state.code,
        "outer_scales": state.state2.absmax,
        "outer_code": state.state2.code,
    }


def _unpack_nf4(parts: Parts, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    functional = bitsandbytes().functional
    outer = functional.QuantState(
        absmax=parts["outer_scales"], code=parts["outer_code"], blocksize=_OUTER_BLOCK, dtype=torch.float32
    )
    state = functional.QuantState(
        absmax=parts["scales"],
        shape=torch.Size(shape),
        code=parts["code"],
        blocksize=_BLOCK,
        quant_type="nf4",
        dtype=dtype,
        offset=parts["offset"],
        state2=outer,
    )
    weight: Tensor = functional.dequantize_4bit(parts["packed"], state)
    return weight


def _pack_int8(weight: Tensor) -> dict[str, Tensor]:
    """Round to whole numbers, each row by its own scale; activations stay as they are, so gradients are exact."""
    wide = weight.float()
    scale = wide.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return {"packed": (wide / scale).round().to(torch.int8), "scales": scale}


def _pack_fp8(weight: Tensor) -> dict[str, Tensor]:
    """Round to e4m3, each row by its own scale so that its largest value is the largest there is."""
    wide = weight.float()
    largest = torch.finfo(torch.float8_e4m3fn).max
    scale = wide.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / largest
    return {"packed": (wide / scale).to(torch.float8_e4m3fn), "scales": scale}


def _unpack_rows(parts: Parts, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return dequantise(parts["packed"], parts["scales"], dtype)


PACKINGS: Mapping[BaseFormat, Packing] = {
    "nf4": Packing(_pack_nf4, _unpack_nf4),
    "int8": Packing(_pack_int8, _unpack_rows),
    "fp8": Packing(_pack_fp8, _unpack_rows),
}


def bitsandbytes() -> Any:
    """Return the library, or say how to install it."""
    try:
        with quietly():
            import bitsandbytes as library
    except ImportError as error:
        remedy = "pip install 'wanloom[train]'"
        raise TrainingError("base nf4", "the package bitsandbytes is not there", remedy=remedy) from error
    return library
