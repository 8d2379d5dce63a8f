"""A stack on bases of few bits: nearer to the float32 result than core's merge, which has to round to those bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import comfy.sd
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy.quant_ops import QuantizedTensor
from native import NARROW, WIDE, bound, predict, relative_error
from torch import Tensor
from wanloom.lora_core import LoraStack
from wanloom.lora_core.families.wan.spec import WanSize

as_in_a_node = native.as_in_a_node
host = native.host
SIZES = {"weight wrappers": WIDE, "injection": NARROW}
LARGEST = torch.finfo(torch.float8_e4m3fn).max


@dataclass(frozen=True)
class Form:
    """Be one way in which a base of few bits comes.

    Attributes:
        companions: (layer, scale) -> what stands beside the layer's 8-bit weight; None where the file has float16.
        whole: (layers) -> what else the file holds; and its metadata.
        options: of core's loader, as its node gives them for a weight dtype.
        compute_dtype: of the network; the host's choice if None.
        noise: the error that computing in its dtype makes, however exact the weights.
    """

    companions: Callable[[str, Tensor], Mapping[str, Tensor]] | None = None
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    metadata: Callable[[list[str]], Mapping[str, str]] = lambda layers: {}
    options: Mapping[str, object] = field(default_factory=dict)
    compute_dtype: torch.dtype | None = None
    noise: float = 1e-5


def text_tensor(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


QUANT = '{"format": "float8_e4m3fn"}'
SCALED = Form(
    lambda layer, scale: {f"{layer}.scale_weight": scale},
    whole={"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)},
)
FORMS = {
    "scaled fp8": SCALED,
    "scaled fp8 in bfloat16": Form(SCALED.companions, SCALED.whole, compute_dtype=torch.bfloat16, noise=0.01),
    "comfy_quant": Form(
        lambda layer, scale: {f"{layer}.weight_scale": scale, f"{layer}.comfy_quant": text_tensor(QUANT)}
    ),
    "quantisation in the metadata": Form(
        lambda layer, scale: {f"{layer}.weight_scale": scale},
        metadata=lambda layers: {
            "_quantization_metadata": json.dumps({"layers": {layer: json.loads(QUANT) for layer in layers}})
        },
    ),
    "weight dtype fp8_e4m3fn": Form(options={"dtype": torch.float8_e4m3fn}),
    "weight dtype fp8_e4m3fn_fast": Form(options={"dtype": torch.float8_e4m3fn, "fp8_optimizations": True}),
    "weight dtype fp8_e5m2": Form(options={"dtype": torch.float8_e5m2}),
    "float16": Form(options={"dtype": torch.float16}, noise=0.001),
    "bfloat16": Form(options={"dtype": torch.bfloat16}, compute_dtype=torch.bfloat16, noise=0.01),
}


def save_base(path: Path, size: WanSize, form: Form) -> Path:
    state = {name: tensor.half() for name, tensor in native.state_dict(size).items()}
    layers = [name.removesuffix(".weight") for name, tensor in state.items() if is_block_layer(name, tensor)]
    if form.companions is not None:
        for layer in layers:
            weight = state[f"{layer}.weight"].float()
            scale = weight.abs().max() / LARGEST
            state[f"{layer}.weight"] = (weight / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
            state.update(form.companions(layer, scale))
    return native.save_state({**state, **form.whole}, path, size, **form.metadata(layers))


def is_block_layer(name: str, tensor: Tensor) -> bool:
    return name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2


def in_float32(model: ModelPatcher, host: native.Host, size: WanSize) -> ModelPatcher:
    """Return a MODEL of exactly the same weights, in float32."""
    state = {
        name: (parameter.dequantize() if isinstance(parameter, QuantizedTensor) else parameter).float()
        for name, parameter in model.model.diffusion_model.named_parameters()
    }
    return host.open(native.save_state(state, host.folder / "float32.safetensors", size))


CASES = [*((name, "LoRA") for name in FORMS), ("scaled fp8", "LoKr"), ("scaled fp8", "DoRA by input")]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_error_is_no_larger_than_that_of_cores_merge(
    host: native.Host, name: str, size: WanSize, kind: str
) -> None:
    form = FORMS[name]
    model = host.open(save_base(host.folder / "base.safetensors", size, form), **form.options)
    exact = in_float32(model, host, size)
    if form.compute_dtype is not None:
        model.set_model_compute_dtype(form.compute_dtype)
    tensors = lora_kinds.FILES[kind](size)
    stack = LoraStack().add(lora_kinds.save(host.folder / "lora.safetensors", tensors), 0.7)
    base, expected = predict(model), predict(bound(exact, stack))
    merged = predict(comfy.sd.load_lora_for_models(model, None, dict(tensors), 0.7, 0)[0])
    error = relative_error(predict(bound(model, stack)), expected)
    assert error < form.noise
    assert error <= relative_error(merged, expected) + 0.1 * form.noise
    assert torch.equal(predict(model), base)
    assert torch.equal(predict(bound(model, stack.with_strength("lora", 0.0))), base)
