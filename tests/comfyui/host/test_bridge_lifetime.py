"""How long a bound stack lasts and whom it touches: nobody else's MODEL, and no weight is loaded twice for it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path

import comfy.lora
import comfy.sd
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from native import NARROW, SIGMAS, WIDE, bound, predict, relative_error
from torch import Tensor
from wanloom.lora_core import LoraStack, TargetFilter
from wanloom.lora_core.families.wan.spec import WanSize
from wanloom.nodes import bridge

as_in_a_node = native.as_in_a_node
host = native.host
SIZES = {"weight wrappers": WIDE, "injection": NARROW}


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def size(request: pytest.FixtureRequest) -> WanSize:
    return request.param


@pytest.fixture
def model(host: native.Host, size: WanSize) -> ModelPatcher:
    return host.model(size)


@pytest.fixture
def file(tmp_path: Path, size: WanSize) -> Path:
    """A LoRA on every layer, the norms and the tables."""
    return save_everything(tmp_path / "everything.safetensors", size)


def save_everything(path: Path, size: WanSize, seed: int = 0) -> Path:
    layers = lora_kinds.layer_tensors(lora_kinds.lora, size, seed)
    return lora_kinds.save(path, layers | lora_kinds.norm_tensors(size) | lora_kinds.table_tensors(size))


def stack_of(file: Path, strength: float = 1.0, **options: object) -> LoraStack:
    return LoraStack().add(file, strength, **options)


def weights(model: ModelPatcher) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def instance_forwards(model: ModelPatcher) -> list[str]:
    """Return the modules whose forward somebody has taken over."""
    modules = model.model.diffusion_model.named_modules()
    return [name for name, module in modules if "forward" in vars(module)]


def functions(model: ModelPatcher) -> dict[str, tuple[Callable[[Tensor], Tensor], ...]]:
    modules = model.model.diffusion_model.named_modules()
    return {name: tuple(module.weight_function) for name, module in modules if hasattr(module, "weight_function")}


def stack_on(patcher: ModelPatcher) -> bridge.BoundStack:
    return next(stack for stack in bridge.BOUND.values() if stack.uuid == patcher.patches_uuid)


def count_loads(patcher: ModelPatcher) -> list[torch.device]:
    loads: list[torch.device] = []
    patcher.add_callback_with_key(CallbacksMP.ON_LOAD, "test", lambda patcher, device, *_: loads.append(device))
    return loads


# ------------------------------------------------------------------------------------------ nobody else is touched


def test_after_a_run_the_base_is_bit_identical(model: ModelPatcher, file: Path) -> None:
    before, weights_before = predict(model), weights(model)
    patcher = bound(model, stack_of(file))
    assert relative_error(predict(patcher), before) > 0.03
    assert torch.equal(predict(model), before)
    assert not instance_forwards(model)
    after = weights(model)
    assert after.keys() == weights_before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in weights_before.items())


def test_a_model_that_is_dropped_while_loaded_leaves_no_trace(model: ModelPatcher, file: Path) -> None:
    before = predict(model)
    predict(bound(model, stack_of(file)))
    assert not instance_forwards(model)
    assert torch.equal(predict(model), before)
    assert not any(functions(model).values())


def test_the_bound_models_state_dict_is_the_bases(model: ModelPatcher, file: Path) -> None:
    weights_before = weights(model)
    patcher = bound(model, stack_of(file))
    predict(patcher)
    found = patcher.model_state_dict()
    assert found.keys() == weights_before.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_before.items())


def test_clones_with_other_strengths_take_turns(model: ModelPatcher, file: Path) -> None:
    weak, strong = bound(model, stack_of(file, 0.2)), bound(model, stack_of(file, 1.0))
    expected = {id(patcher): predict(patcher) for patcher in (weak, strong)}
    assert relative_error(expected[id(weak)], expected[id(strong)]) > 0.03
    for patcher in (weak, strong, strong, weak, strong):
        assert torch.equal(predict(patcher), expected[id(patcher)])


def test_clones_with_other_files_take_turns(model: ModelPatcher, file: Path, size: WanSize) -> None:
    other = save_everything(file.with_name("other.safetensors"), size, seed=5)
    patchers = [model, bound(model, stack_of(file)), bound(model, stack_of(other)), bound(model, stack_of(file))]
    expected = [predict(patcher) for patcher in patchers]
    assert torch.equal(expected[1], expected[3])
    for index in (2, 1, 0, 3, 2, 0, 1):
        assert torch.equal(predict(patchers[index]), expected[index])


def test_a_clone_made_after_a_run_still_has_the_loras(model: ModelPatcher, file: Path) -> None:
    patcher = bound(model, stack_of(file))
    expected = predict(patcher)
    clone = patcher.clone()
    assert torch.equal(predict(clone), expected)
    del patcher
    assert torch.equal(predict(clone), expected)
    assert torch.equal(predict(clone.clone()), expected)


def test_a_clone_that_is_dropped_takes_nothing_from_the_model_at_work(model: ModelPatcher, file: Path) -> None:
    patcher = bound(model, stack_of(file))
    expected = predict(patcher)
    clone = patcher.clone()
    del clone
    assert torch.equal(predict(patcher, load=False), expected)


def test_cores_loras_before_and_after_a_stack_act_too(model: ModelPatcher, file: Path, size: WanSize) -> None:
    core = lora_kinds.layer_tensors(lora_kinds.diff, size, seed=4)
    stack = stack_of(file)
    before = bound(comfy.sd.load_lora_for_models(model, None, dict(core), 0.5, 0)[0], stack)
    after = comfy.sd.load_lora_for_models(bound(model, stack), None, dict(core), 0.5, 0)[0]
    both = stack.add(lora_kinds.save(file.with_name("core.safetensors"), core), 0.5)
    expected = predict(bound(model, both))
    assert relative_error(predict(before), expected) < 1e-5
    assert relative_error(predict(after), expected) < 1e-5


def test_a_stack_on_a_bound_model_acts_with_the_first(model: ModelPatcher, file: Path, size: WanSize) -> None:
    other = save_everything(file.with_name("other.safetensors"), size, seed=5)
    base, expected = predict(model), predict(bound(model, stack_of(file).add(other, 0.5)))
    twice = bound(bound(model, stack_of(file)), LoraStack().add(other, 0.5))
    for _ in range(3):
        assert relative_error(predict(twice), expected) < 1e-5
        assert torch.equal(predict(model), base)
    del twice
    assert not instance_forwards(model)


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_foreign_injection_on_the_same_layers_goes_together_with_a_stack(
    model: ModelPatcher, file: Path, size: WanSize, ours_first: bool
) -> None:
    """Core's bypass takes the forward over too; ComfyUI ejects in the order it injects."""
    core, base = lora_kinds.layer_tensors(lora_kinds.lora, size, seed=4), predict(model)
    both = stack_of(file).add(lora_kinds.save(file.with_name("core.safetensors"), core), 0.5)
    expected = predict(bound(model, both))
    steps = [
        lambda patcher: bound(patcher, stack_of(file)),
        lambda patcher: comfy.sd.load_bypass_lora_for_models(patcher, None, dict(core), 0.5, 0)[0],
    ]
    patcher = model
    for step in steps if ours_first else reversed(steps):
        patcher = step(patcher)
    for _ in range(3):
        assert relative_error(predict(patcher), expected) < 1e-5
        assert torch.equal(predict(model), base)


@pytest.mark.parametrize("schedule", [None, "fade_out"])
def test_strength_0_is_the_base_bit_for_bit(model: ModelPatcher, file: Path, schedule: str | None) -> None:
    base = predict(model)
    assert torch.equal(predict(bound(model, stack_of(file, 0.0, schedule=schedule))), base)


def test_a_schedule_that_is_at_0_is_the_base_bit_for_bit(model: ModelPatcher, file: Path) -> None:
    base, patcher = predict(model, SIGMAS[0]), bound(model, stack_of(file, schedule="fade_in"))
    assert relative_error(predict(patcher, SIGMAS[2]), predict(model, SIGMAS[2])) > 0.003
    assert torch.equal(predict(patcher, SIGMAS[0]), base)


def test_without_loras_the_model_itself_is_returned(model: ModelPatcher) -> None:
    assert bound(model, LoraStack()) is model


# ------------------------------------------------------------------------------------------ nothing is loaded again


def test_another_strength_or_schedule_loads_no_weight_and_keeps_every_function(model: ModelPatcher, file: Path) -> None:
    first = bound(model, stack_of(file, 0.4))
    predict(first)
    kept = functions(model)
    assert any(kept.values())
    for strength, schedule in ((0.8, None), (0.4, "fade_out"), (-1.0, "fade_in@steps"), (0.0, None)):
        other = bound(model, stack_of(file, strength, schedule=schedule))
        loads = count_loads(other)
        predict(other)
        assert other.patches_uuid == first.patches_uuid
        assert functions(model) == kept
        assert not loads


def test_a_model_made_anew_after_the_last_was_dropped_loads_no_weight_either(model: ModelPatcher, file: Path) -> None:
    """As when a sampler binds for one run, and a strength changes before the next."""
    patcher = bound(model, stack_of(file, 0.4))
    name = patcher.patches_uuid
    predict(patcher)
    kept = functions(model)
    del patcher
    again = bound(model, stack_of(file, 0.8))
    loads = count_loads(again)
    found = predict(again)
    assert again.patches_uuid == name
    assert functions(model) == kept
    assert not loads
    native.unload()
    assert torch.equal(predict(again), found)


@pytest.mark.parametrize("change", ["file", "filter", "row", "order", "base"])
def test_what_changes_the_weights_makes_a_new_binding(
    model: ModelPatcher, file: Path, size: WanSize, change: str
) -> None:
    other = save_everything(file.with_name("other.safetensors"), size, seed=5)
    stack = stack_of(file).add(other)
    first = bound(model, stack)
    before = predict(first)
    if change == "file":
        os.utime(save_everything(file, size, seed=6), ns=(1, 1))
        stack = stack_of(file).add(other)
    elif change == "filter":
        stack = stack_of(file, target_filter=TargetFilter.parse("ffn=0.5")).add(other)
    elif change == "row":
        stack = stack_of(file)
    elif change == "order":
        stack = LoraStack().add(other, 0.3).add(file, 0.9)
    else:
        core = lora_kinds.layer_tensors(lora_kinds.diff, size, seed=4)
        model = comfy.sd.load_lora_for_models(model, None, core, 0.5, 0)[0]
    second = bound(model, stack)
    assert second.patches_uuid != first.patches_uuid
    assert relative_error(predict(second), before) > 0.01
    assert torch.equal(predict(first), before)


def test_weights_that_have_no_file_are_told_apart_after_some_are_gone(
    model: ModelPatcher, file: Path, size: WanSize
) -> None:
    spec = native.spec_of(model)
    outputs = []
    for seed in range(4):
        weights = native.read_without_file(save_everything(file, size, seed=seed), spec)
        patcher = bound(model, LoraStack().add(weights))
        outputs.append(predict(patcher))
        del weights, patcher
    differences = [relative_error(first, second) for first in outputs for second in outputs if first is not second]
    assert min(differences) > 0.01


# ------------------------------------------------------------------------------------------ and then it is gone


def test_a_stack_is_gone_when_no_model_holds_it_and_none_is_loaded_with_it(model: ModelPatcher, file: Path) -> None:
    patcher = bound(model, stack_of(file))
    predict(patcher)
    stack = weakref.ref(stack_on(patcher))
    del patcher
    assert stack() is not None
    predict(model)
    assert stack() is None


def test_a_loaded_model_can_be_dropped_with_all_that_is_bound_to_it(
    host: native.Host, file: Path, size: WanSize
) -> None:
    model = host.model(size)
    patcher = bound(model, stack_of(file))
    predict(patcher)
    network, stack = weakref.ref(model.model), weakref.ref(stack_on(patcher))
    del model, patcher
    assert network() is None
    assert stack() is None
