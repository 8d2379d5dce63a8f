"""The form in which a layer stores its weight, and from which it is read as numbers.

A form is a row of `_FORMS`. A layer of no known form still takes a stack, on the activation side, where nobody has to
read its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import ModelError

#: How a layer holds its weight: as numbers to multiply with; packed, and unpacked at every call; packed, and multiplied
#: as it is; or out of reach while the layer runs.
BaseKind = Literal["float", "dequantised", "low_bit", "elsewhere"]

#: What can multiply; quantised layers are `nn.Linear`s too.
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

_PLAIN_TYPES = (Tensor, nn.Parameter)


@dataclass(frozen=True)
class BaseForm:
    """One way of storing a weight.

    Attributes:
        matches: whether a layer stores its weight so.
        kind: what that means for the choice of a side.
        read: return the weight as numbers of the dtype asked for; where `kind` is not "float", as a new tensor.
        bias: return the bias as a tensor to compute with.
    """

    matches: Callable[[Layer], bool]
    kind: Callable[[Layer], BaseKind]
    read: Callable[[Layer, torch.dtype], Tensor]
    bias: Callable[[Layer], Tensor | None] = lambda layer: layer.bias


def base_form(layer: Layer) -> BaseForm:
    """Return the form in which `layer` stores its weight."""
    return next(form for form in _FORMS if form.matches(layer))


def _is_plain(layer: Layer) -> bool:
    weight = layer.weight
    return type(weight) in _PLAIN_TYPES and weight.is_floating_point() and not hasattr(layer, "dequantised_weight")


def _read_plain(layer: Layer, dtype: torch.dtype) -> Tensor:
    if layer.weight.is_meta:
        raise ModelError(
            type(layer).__name__,
            "its weight is not loaded while the layer runs (meta device)",
            remedy="Load the model whole before it is used",
        )
    return layer.weight.detach().to(dtype)


def _read_own(layer: Any, dtype: torch.dtype) -> Tensor:
    return layer.dequantised_weight(dtype)


def _read_gguf(layer: Layer, dtype: torch.dtype) -> Tensor:
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    return dequantize_gguf_tensor(layer.weight).to(dtype)


def _is_ggml(layer: Layer) -> bool:
    """Recognise a layer of city96's ComfyUI-GGUF."""
    return hasattr(layer, "get_weight") and hasattr(layer.weight, "tensor_type")


def _read_ggml(layer: Any, dtype: torch.dtype) -> Tensor:
    """Ask the layer for its weight, which includes LoRAs of ComfyUI's own that the pack keeps for it."""
    weight = _as_plain(layer.get_weight(layer.weight, dtype))
    # What the file stores as float32 or float16 comes as it lies there.
    return weight if weight.data_ptr() != layer.weight.data_ptr() else weight.clone()


def _ggml_bias(layer: Any) -> Tensor | None:
    return None if layer.bias is None else _as_plain(layer.get_weight(layer.bias, torch.float32))


def _as_plain(tensor: Tensor) -> Tensor:
    """Return the same numbers as a tensor of no class of its own, which results would inherit."""
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(Tensor)


def _kind_4bit(layer: Any) -> BaseKind:
    # On CPUs with bfloat16 units bitsandbytes repacks the weight at its first forward and multiplies with it as packed.
    repacked = getattr(layer.weight.quant_state, "packing_format_for_cpu", False)
    return "low_bit" if repacked else "dequantised"


def _read_4bit(layer: Any, dtype: torch.dtype) -> Tensor:
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)


def _read_8bit(layer: Any, dtype: torch.dtype) -> Tensor:
    # Row-wise absolute maxima; they wander from the parameter to the layer's state at the first forward.
    row_maxima = layer.state.SCB if layer.weight.SCB is None else layer.weight.SCB
    return (layer.weight.data.float() * (row_maxima.view(-1, 1) / 127)).to(dtype)


def _read_unknown(layer: Layer, dtype: torch.dtype) -> Tensor:
    """Ask a tensor subclass (torchao's, quanto's) for its numbers."""
    weight = layer.weight
    if type(weight) in _PLAIN_TYPES:
        raise ModelError(
            type(layer).__name__,
            f"its weight is packed as {weight.dtype} in an unknown way",
            remedy="Open it from safetensors or GGUF weights",
        )
    return weight.dequantize().to(dtype)


def _weight_has(attribute: str) -> Callable[[Layer], bool]:
    return lambda layer: hasattr(layer.weight, attribute)


#: In order: the first match counts.
_FORMS = (
    BaseForm(_is_plain, lambda layer: "float", _read_plain),
    BaseForm(lambda layer: hasattr(layer, "dequantised_weight"), lambda layer: "dequantised", _read_own),
    BaseForm(_is_ggml, lambda layer: "dequantised", _read_ggml, _ggml_bias),
    BaseForm(_weight_has("quant_state"), _kind_4bit, _read_4bit),
    BaseForm(_weight_has("quant_type"), lambda layer: "dequantised", _read_gguf),
    BaseForm(_weight_has("SCB"), lambda layer: "low_bit", _read_8bit),
    BaseForm(lambda layer: True, lambda layer: "low_bit", _read_unknown),
)
