"""A bound stack under ComfyUI's memory management: the same result however little fits, and its tensors are counted."""

from __future__ import annotations

from pathlib import Path

import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from native import NARROW, WIDE, bound, predict
from wanloom.lora_core import LoraStack
from wanloom.lora_core.families.wan.spec import WanSize
from wanloom.nodes import bridge

as_in_a_node = native.as_in_a_node
host = native.host
SIZES = {"weight wrappers": WIDE, "injection": NARROW}
CPU = torch.device("cpu")
#: A second device, for what is taken off the first; weights cannot come back from it, so they do not go there.
AWAY = torch.device("meta")


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def size(request: pytest.FixtureRequest) -> WanSize:
    return request.param


@pytest.fixture
def model(host: native.Host, size: WanSize) -> ModelPatcher:
    return host.model(size)


@pytest.fixture
def model_of_two_devices(model: ModelPatcher, monkeypatch: pytest.MonkeyPatch) -> ModelPatcher:
    monkeypatch.setattr(model, "offload_device", AWAY)
    monkeypatch.setattr(model.model, "to", lambda device: model.model)
    return model


@pytest.fixture
def stack(tmp_path: Path, size: WanSize) -> LoraStack:
    """LoRAs of several kinds on every layer, the norms and the tables."""
    files = [
        lora_kinds.layer_tensors(lora_kinds.lora, size) | lora_kinds.norm_tensors(size),
        lora_kinds.layer_tensors(lora_kinds.dora, size, seed=1),
        lora_kinds.layer_tensors(lora_kinds.diff, size, seed=2) | lora_kinds.table_tensors(size),
    ]
    whole = LoraStack()
    for number, tensors in enumerate(files):
        whole = whole.add(lora_kinds.save(tmp_path / f"{number}.safetensors", tensors), 0.5)
    return whole


def load_partly(patcher: ModelPatcher, share: float) -> None:
    """Load a MODEL as ComfyUI does where only a share of it fits."""
    patcher.patch_model(CPU, lowvram_model_memory=max(1, int(share * patcher.model_size())))


def num_offloaded(patcher: ModelPatcher) -> int:
    return sum(hasattr(module, "prev_comfy_cast_weights") for module in patcher.model.diffusion_model.modules())


def stack_of(patcher: ModelPatcher) -> bridge.BoundStack:
    return next(stack for stack in bridge.BOUND.values() if stack.uuid == patcher.patches_uuid)


def devices_held(stack: bridge.BoundStack) -> set[torch.device]:
    return {device for delta in stack.deltas for device, _ in delta._factors}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_partly_loaded_model_computes_the_same(model: ModelPatcher, stack: LoraStack, share: float) -> None:
    expected = predict(bound(model, stack))
    native.unload()
    patcher = bound(model, stack)
    load_partly(patcher, share)
    assert num_offloaded(patcher)
    torch.testing.assert_close(predict(patcher, load=False), expected, rtol=1e-5, atol=1e-5)


def test_loading_more_and_unloading_parts_computes_the_same(model: ModelPatcher, stack: LoraStack) -> None:
    patcher = bound(model, stack)
    expected, base = predict(patcher), predict(model)
    native.unload()
    load_partly(patcher, 0.2)
    steps = [
        lambda: patcher.partially_load(CPU, patcher.model_size() // 3),
        lambda: patcher.partially_unload(CPU, patcher.model_size() // 4),
        lambda: patcher.partially_load(CPU, 2 * patcher.model_size()),
        lambda: patcher.partially_unload(CPU, patcher.model_size() // 2),
        lambda: (patcher.detach(), load_partly(patcher, 0.5)),
        lambda: (patcher.unpatch_model(CPU), patcher.patch_model(CPU)),
    ]
    for step in steps:
        step()
        torch.testing.assert_close(predict(patcher, load=False), expected, rtol=1e-5, atol=1e-5)
    patcher.detach()
    load_partly(model, 0.5)
    torch.testing.assert_close(predict(model, load=False), base, rtol=1e-5, atol=1e-5)
    model.detach()
    assert torch.equal(predict(model), base)


def test_another_strength_while_partly_loaded(model: ModelPatcher, stack: LoraStack) -> None:
    weaker = stack.with_strength("0", 0.1)
    expected = predict(bound(model, weaker))
    native.unload()
    first, second = bound(model, stack), bound(model, weaker)
    load_partly(first, 0.5)
    first.detach(unpatch_all=False)  # as ComfyUI changes over to a clone
    second.partially_load(CPU, 0)
    assert num_offloaded(second)
    torch.testing.assert_close(predict(second, load=False), expected, rtol=1e-5, atol=1e-5)


def test_a_stacks_tensors_are_counted_in_the_models_size_and_in_what_is_loaded(
    model: ModelPatcher, stack: LoraStack
) -> None:
    patcher = bound(model, stack)
    num_bytes = sum(lora.weights.num_bytes for lora in native.loaded(model, stack).loras)
    assert num_bytes > 10_000
    assert patcher.model_size() == model.model_size() + num_bytes
    assert patcher.clone().model_size() == patcher.model_size()
    predict(patcher)
    assert patcher.loaded_size() == patcher.model_size()
    predict(model)
    assert model.loaded_size() == model.model_size()


def test_a_stacks_tensors_are_counted_layer_by_layer(model: ModelPatcher, stack: LoraStack) -> None:
    """Only those of the tables are not: they belong to no layer that ComfyUI loads or counts."""
    patcher = bound(model, stack)
    tables = sum(
        delta.num_bytes
        for path, deltas in stack_of(patcher).injected.items()
        for name, delta in deltas.items()
        if name == "modulation"
    )
    load_partly(model, 1e6)
    without = model.loaded_size()
    model.detach()
    load_partly(patcher, 1e6)
    counted = patcher.model_size() - model.model_size() - tables
    assert patcher.loaded_size() - without == counted
    freed = patcher.partially_unload(CPU, 10 * patcher.model_size())
    assert freed == without + counted
    assert patcher.loaded_size() == 0


def test_the_device_is_left_when_the_model_is_unloaded(model_of_two_devices: ModelPatcher, stack: LoraStack) -> None:
    patcher = bound(model_of_two_devices, stack)
    predict(patcher)
    assert devices_held(stack_of(patcher)) == {CPU}
    native.unload()
    assert not devices_held(stack_of(patcher))


def test_the_device_is_left_when_the_model_was_dropped(model_of_two_devices: ModelPatcher, stack: LoraStack) -> None:
    """ComfyUI then unloads the MODEL it was made from, which knows of no stack."""
    patcher = bound(model_of_two_devices, stack)
    kept = stack_of(patcher)
    predict(patcher)
    assert devices_held(kept) == {CPU}
    del patcher
    assert not devices_held(kept)


def test_a_layer_that_is_taken_off_the_device_keeps_no_copy_there(model: ModelPatcher, stack: LoraStack) -> None:
    patcher = bound(model, stack)
    predict(patcher)
    kept = stack_of(patcher)
    for delta in kept.deltas:
        delta.move_to(AWAY)
    expected = predict(patcher)
    assert not devices_held(kept)
    for delta in kept.deltas:
        delta.move_to(CPU)
    assert torch.equal(predict(patcher), expected)
    assert devices_held(kept) == {CPU}
