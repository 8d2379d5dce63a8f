"""8-bit floating point weights: the forms checkpoints store them in, and the linear layer that keeps them 8-bit.

Dtype policy: the weight stays float8; it is widened to the activation's dtype, times its scale, when the layer runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import shape_text
from ..errors import ModelError
from ..wording import said

_FP8_FORMATS = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
FP8_DTYPES = frozenset(_FP8_FORMATS.values())

#: Leaves that describe a quantised layer: `scale_weight` in files marked by a `scaled_fp8` tensor, `weight_scale` in
#: files that name the format per layer, in a `comfy_quant` tensor or in the header's `_quantization_metadata`.
_SCALE_LEAVES = (".scale_weight", ".weight_scale")
_FORMAT_LEAF = ".comfy_quant"
_INPUT_LEAVES = (".scale_input", ".input_scale")
_MARK = "scaled_fp8"
_HEADER_ENTRY = "_quantization_metadata"


class ScaledFp8Linear(nn.Linear):
    """A linear layer `x @ (scale * W).T + bias` with W kept in 8 bits: (..., I) -> (..., O).

    Attributes:
        weight_scale: float32, one value or (O, 1).
    """

    weight_scale: Tensor

    def __init__(self, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> None:
        out_features, in_features = weight.shape
        super().__init__(in_features, out_features, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))
        self.register_buffer("weight_scale", _scale(weight_scale, out_features), persistent=False)

    def dequantised_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight (O, I) the layer stands for."""
        return dequantise(self.weight, self.weight_scale, dtype)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.dequantised_weight(x.dtype), bias)


def dequantise(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `scale * weight`, the product taken in float32."""
    return (weight.float() * scale).to(dtype)


def widened(tensor: Tensor, scale: Tensor) -> Tensor:
    """Return an 8-bit tensor in float32, times the scale as its file has it."""
    return dequantise(tensor, _scale(scale, tensor.shape[0] if tensor.ndim else 1), torch.float32)


def describes_quantisation(name: str) -> bool:
    """Say whether a tensor's name is that of a scale or a mark, not of a parameter."""
    return name.endswith((_MARK, _FORMAT_LEAF, *_SCALE_LEAVES, *_INPUT_LEAVES))


@dataclass(frozen=True)
class Fp8State:
    """A state dict with its 8-bit layers set apart.

    Attributes:
        tensors: what is left for ordinary loading; 8-bit tensors that no linear layer keeps are already widened.
        layers: module path -> (8-bit weight, scale).
    """

    tensors: Mapping[str, Tensor]
    layers: Mapping[str, tuple[Tensor, Tensor]]


def split_fp8(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    where: object,
    keep: Callable[[str, Tensor], bool],
    prefix: str = "",
) -> Fp8State:
    """Set the 8-bit layers of a checkpoint apart from its other tensors.

    Args:
        tensors: name -> tensor, any prefix already taken off.
        metadata: the header's metadata, where newer files name the formats of their layers.
        where: the file, for messages.
        prefix: what was taken off the names, and still stands before those in the metadata.
        keep: says of (name, 8-bit tensor) whether it stays 8-bit; the others are widened at once, to float32.
    """
    scales, formats = _scales(tensors), _formats(tensors, metadata, where, prefix)
    unknown = {path: kind for path, kind in formats.items() if kind not in _FP8_FORMATS}
    if unknown:
        path, kind = next(iter(unknown.items()))
        expected = " or ".join(_FP8_FORMATS)
        raise ModelError(
            where,
            said("{count} layers are quantised as {kind!r}, first {path!r}", count=len(unknown), kind=kind, path=path),
            expected=expected,
            remedy="Choose another file of the model",
        )
    plain: dict[str, Tensor] = {}
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    for name, tensor in tensors.items():
        if describes_quantisation(name):
            continue
        path = name.removesuffix(".weight")
        if path in formats and name.endswith(".weight") and tensor.dtype == torch.uint8:
            tensor = tensor.view(_FP8_FORMATS[formats[path]])
        if tensor.dtype not in FP8_DTYPES:
            plain[name] = tensor
        elif keep(name, tensor):
            layers[path] = (tensor, scales.get(path, torch.ones(())))
        else:
            plain[name] = widened(tensor, scales.get(path, torch.ones(())))
    return Fp8State(plain, layers)


def place_fp8_layers(module: nn.Module, layers: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Put a `ScaledFp8Linear` in the place of each named linear layer; biases move over."""
    for path, (weight, scale) in layers.items():
        parent_path, _, leaf = path.rpartition(".")
        parent = module.get_submodule(parent_path)
        setattr(parent, leaf, ScaledFp8Linear(weight, scale, getattr(parent, leaf).bias))


def _scales(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removesuffix(leaf): tensor
        for name, tensor in tensors.items()
        for leaf in _SCALE_LEAVES
        if name.endswith(leaf)
    }


def _formats(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], where: object, prefix: str) -> dict[str, str]:
    """Return module path -> format, for layers whose file says it."""
    formats = {}
    for name, tensor in tensors.items():
        if name.endswith(_FORMAT_LEAF):
            path = name.removesuffix(_FORMAT_LEAF)
            what = f"the description of layer {path!r}"
            if tensor.dtype != torch.uint8 or tensor.ndim != 1:
                raise ModelError(
                    where,
                    said("{what} is {shape} of {dtype}", what=what, shape=shape_text(tensor.shape), dtype=tensor.dtype),
                    expected="its bytes",
                    remedy="Download it again",
                )
            formats[path] = str(_parsed(bytes(tensor.tolist()), where, what).get("format"))
    if _HEADER_ENTRY in metadata:
        what = f"its metadata entry {_HEADER_ENTRY!r}"
        layers = _parsed(metadata[_HEADER_ENTRY], where, what).get("layers", {})
        if not isinstance(layers, dict) or not all(isinstance(layer, dict) for layer in layers.values()):
            raise ModelError(
                where,
                said("{what} cannot be read", what=what),
                expected='{"layers": {name: {"format": ...}}}',
                remedy="Download it again",
            )
        formats.update({path.removeprefix(prefix): str(layer.get("format")) for path, layer in layers.items()})
    return formats


def _parsed(content: str | bytes, where: object, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            where, said("{what} cannot be read: {error}", what=what, error=error), remedy="Download it again"
        ) from error
    if not isinstance(parsed, dict):
        raise ModelError(
            where,
            said("{what} cannot be read: it is a {name}", what=what, name=type(parsed).__name__),
            expected="a JSON object",
            remedy="Download it again",
        )
    return parsed


def _scale(scale: Tensor, out_features: int) -> Tensor:
    """Return a scale that multiplies a weight of `out_features` rows: one value, or (O, 1)."""
    return scale.float().reshape(()) if scale.numel() == 1 else scale.float().reshape(out_features, 1)
