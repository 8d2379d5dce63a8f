"""8-bit weights: the forms files store them in, and the layer that keeps them."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from torch import nn

from lora_core.checkpoints.fp8 import ScaledFp8Linear, split_fp8
from lora_core.errors import ModelError


def test_the_layer_computes_with_the_dequantised_weight() -> None:
    torch.manual_seed(0)
    weight, scale = tiny.quantise_fp8(torch.randn(8, 4))
    bias, x = torch.randn(8), torch.randn(3, 4)
    layer = ScaledFp8Linear(weight, scale, bias)
    assert layer.weight.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(layer(x), x @ (weight.float() * scale).T + bias)
    assert torch.equal(layer.dequantised_weight(torch.float32), weight.float() * scale)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_a_scale_per_output_channel_is_applied_to_rows() -> None:
    weight, scales = torch.ones(3, 2).to(torch.float8_e5m2), torch.tensor([1.0, 2.0, 3.0])
    layer = ScaledFp8Linear(weight, scales, None)
    assert layer.dequantised_weight(torch.float32).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_the_layer_is_a_linear_layer_with_its_sizes() -> None:
    layer = ScaledFp8Linear(*tiny.quantise_fp8(torch.ones(8, 4)), None)
    assert isinstance(layer, nn.Linear)
    assert (layer.in_features, layer.out_features) == (4, 8)


def test_tensors_that_no_layer_keeps_are_widened() -> None:
    weight, scale = tiny.quantise_fp8(torch.arange(6.0).reshape(2, 3))
    tensors = {
        "a.weight": weight,
        "a.scale_weight": scale,
        "a.scale_input": torch.ones(()),
        "scaled_fp8": torch.zeros(2),
    }
    split = split_fp8(tensors, {}, "file", keep=lambda name, tensor: False)
    assert list(split.tensors) == ["a.weight"]
    torch.testing.assert_close(split.tensors["a.weight"], weight.float() * scale)


def test_bytes_are_read_as_the_format_that_the_layer_states() -> None:
    weight, scale = tiny.quantise_fp8(torch.randn(2, 4))
    tensors = {"a.weight": weight.view(torch.uint8), "a.weight_scale": scale}
    metadata = {"_quantization_metadata": json.dumps({"layers": {"model.a": {"format": "float8_e4m3fn"}}})}
    split = split_fp8(tensors, metadata, "file", keep=lambda name, tensor: True, prefix="model.")
    assert torch.equal(split.layers["a"][0].float(), weight.float())


def test_another_format_is_refused_by_its_name() -> None:
    conf = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    with pytest.raises(ModelError) as raised:
        split_fp8({"a.weight": torch.zeros(2, 2), "a.comfy_quant": conf}, {}, "w.safetensors", keep=lambda n, t: True)
    text = "w.safetensors: 1 layers are quantised as 'nvfp4', first 'a' (float8_e4m3fn or float8_e5m2). "
    text += "Choose another file of the model."
    assert str(raised.value) == text


def test_a_damaged_description_is_an_error_of_the_file() -> None:
    with pytest.raises(ModelError, match=r"^w: the description of layer 'a' cannot be read"):
        split_fp8({"a.comfy_quant": torch.tensor([1, 2], dtype=torch.uint8)}, {}, "w", keep=lambda n, t: True)
    with pytest.raises(ModelError, match=r"^w: its metadata entry '_quantization_metadata' cannot be read"):
        split_fp8({}, {"_quantization_metadata": "[]"}, "w", keep=lambda n, t: True)
