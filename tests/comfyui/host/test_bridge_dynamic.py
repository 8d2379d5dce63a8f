"""A stack on a model of ComfyUI's dynamic VRAM loader, as far as that runs without an accelerator.

The loader's own part, which streams weights, needs one. What it decides is tested here: which layers get their weight
wrappers, what it keeps resident, and that another MODEL of the same weights does not inherit them.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy_aimdo.host_buffer
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic
from native import NARROW, WIDE, bound, predict
from wanloom.lora_core import LoraStack
from wanloom.lora_core.families.wan.spec import WanSize

as_in_a_node = native.as_in_a_node
host = native.host
SIZES = {"weight wrappers": WIDE, "injection": NARROW}


class DynamicOnCpu(ModelPatcherDynamic):
    """The dynamic loader's patcher, which makes way for the plain one on a CPU otherwise."""

    def __new__(cls, *args: Any, **options: Any) -> DynamicOnCpu:
        return object.__new__(cls)

    def partially_unload(self, device_to: torch.device | None, memory_to_free: int = 0, **options: Any) -> int:
        return self.restore_loaded_backups()


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def size(request: pytest.FixtureRequest) -> WanSize:
    return request.param


@pytest.fixture
def model(host: native.Host, size: WanSize, monkeypatch: pytest.MonkeyPatch) -> ModelPatcher:
    no_buffer = SimpleNamespace(size=0, truncate=lambda *args, **options: None)
    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", lambda *args: no_buffer)
    plain = host.model(size)
    for module in plain.model.diffusion_model.modules():
        if hasattr(module, "comfy_cast_weights"):
            module.comfy_cast_weights = True  # as the loader's layers are made
    return DynamicOnCpu(plain.model, plain.load_device, plain.offload_device)


@pytest.fixture
def stack(tmp_path: Path, size: WanSize) -> LoraStack:
    tensors = lora_kinds.layer_tensors(lora_kinds.dora, size) | lora_kinds.norm_tensors(size)
    path = lora_kinds.save(tmp_path / "lora.safetensors", tensors | lora_kinds.table_tensors(size))
    return LoraStack().add(path, 0.7)


def test_it_computes_what_a_plain_model_computes(
    host: native.Host, model: ModelPatcher, size: WanSize, stack: LoraStack
) -> None:
    expected = predict(bound(host.model(size), stack))
    patcher = bound(model, stack)
    assert patcher.is_dynamic()
    torch.testing.assert_close(predict(patcher), expected, rtol=1e-5, atol=1e-5)


def test_models_of_the_same_weights_take_turns(model: ModelPatcher, stack: LoraStack) -> None:
    patchers = [model, bound(model, stack), bound(model, stack.with_strength("lora", 0.2)), model.clone()]
    expected = [predict(patcher) for patcher in patchers]
    assert torch.equal(expected[0], expected[3])
    for index in (1, 0, 2, 1, 3, 2):
        assert torch.equal(predict(patchers[index]), expected[index])
    del patchers
    assert torch.equal(predict(model), expected[0])


def test_the_weights_are_never_written(model: ModelPatcher, stack: LoraStack) -> None:
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    predict(bound(model, stack))
    after = model.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
