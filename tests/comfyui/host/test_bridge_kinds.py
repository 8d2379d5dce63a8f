"""What a bound stack computes: what core computes with the LoRA merged, for every kind that core reads, and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import comfy.sd
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from native import NARROW, SIGMAS, WIDE, bound, predict, relative_error
from torch import Tensor
from wanloom.lora_core import LoraStack, StrengthSchedule
from wanloom.lora_core.families.wan.spec import WanSize

as_in_a_node = native.as_in_a_node
SIZES = {"weight wrappers": WIDE, "injection": NARROW}


@pytest.fixture(scope="module", params=SIZES.values(), ids=SIZES)
def size(request: pytest.FixtureRequest) -> WanSize:
    return request.param


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> native.Host:
    return native.Host(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(host: native.Host, size: WanSize) -> ModelPatcher:
    return host.model(size)


@pytest.fixture(scope="module")
def scratch_model(host: native.Host, size: WanSize) -> ModelPatcher:
    """A second MODEL of the same weights, to write references into."""
    return host.model(size)


def merged(model: ModelPatcher, tensors: Mapping[str, Tensor], strength: float = 1.0) -> ModelPatcher:
    """Return what core's LoraLoaderModelOnly makes of a MODEL."""
    return comfy.sd.load_lora_for_models(model, None, dict(tensors), strength, 0)[0]


def changed_weights(model: ModelPatcher, size: WanSize, stack: LoraStack, strengths: list[float]) -> dict[str, Tensor]:
    """Return the weights with every change added to them in float64."""
    state = {name: tensor.double() for name, tensor in native.state_dict(size).items()}
    base = native.state_dict(size)
    for lora, strength in zip(native.routed(model, stack), strengths, strict=True):
        for target, delta in lora.deltas.items():
            name = native.parameter_name(target)
            state[name] += strength * delta.dense(base[name]).double().reshape(state[name].shape)
    return {name: tensor.float() for name, tensor in state.items()}


@pytest.mark.parametrize("kind", lora_kinds.FILES)
def test_a_bound_lora_computes_what_core_computes_merged(
    model: ModelPatcher, size: WanSize, tmp_path: Path, kind: str
) -> None:
    tensors = lora_kinds.FILES[kind](size)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors), 0.7)
    expected = predict(merged(model, tensors, 0.7))
    assert relative_error(expected, predict(model)) > 0.03
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5


@pytest.mark.parametrize("kind", lora_kinds.BEYOND_CORE)
def test_what_core_reads_otherwise_or_not_at_all_computes_its_definition(
    model: ModelPatcher, scratch_model: ModelPatcher, size: WanSize, tmp_path: Path, kind: str
) -> None:
    tensors = lora_kinds.BEYOND_CORE[kind](size)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors), 0.7)
    native.set_weights(scratch_model, changed_weights(model, size, stack, [0.7]))
    expected = predict(scratch_model)
    assert relative_error(expected, predict(model)) > 0.03
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5


def test_dora_by_output_is_divided_by_the_norm_of_the_changed_weight_and_in_core_by_the_bases() -> None:
    """Why the test above does not compare this kind with core's merge."""
    torch.manual_seed(0)
    base, tensors = torch.randn(8, 6), lora_kinds.dora((8, 6))
    product = 0.5 * tensors["lora_up.weight"] @ tensors["lora_down.weight"]
    patches = comfy.lora.load_lora({f"x.{name}": tensor for name, tensor in tensors.items()}, {"x": "x.weight"})
    in_core = comfy.lora.calculate_weight([(1.0, patches["x.weight"], 1.0, None, None)], base.clone(), "x.weight")
    torch.testing.assert_close(in_core, tensors["dora_scale"] * (base + product) / base.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("dialect", lora_kinds.NOT_READ_BY_CORE)
def test_a_dialect_that_core_does_not_read_works(
    model: ModelPatcher, size: WanSize, tmp_path: Path, dialect: str
) -> None:
    comfyui = lora_kinds.spelled(size, "diffusion_model.", lambda path: path)
    other = lora_kinds.spelled(size, *lora_kinds.NOT_READ_BY_CORE[dialect])
    files = [lora_kinds.save(tmp_path / f"{i}.safetensors", tensors) for i, tensors in enumerate((comfyui, other))]
    base = predict(model)
    assert torch.equal(predict(merged(model, other)), base)
    expected, found = (predict(bound(model, LoraStack().add(file))) for file in files)
    assert relative_error(expected, base) > 0.03
    assert torch.equal(found, expected)


def test_two_rows_of_a_stack_both_act_and_cores_bypass_keeps_the_last(
    model: ModelPatcher, size: WanSize, tmp_path: Path
) -> None:
    first, second = (lora_kinds.layer_tensors(lora_kinds.lora, size, seed) for seed in (0, 1))
    stack = LoraStack()
    for name, tensors, strength in (("first", first, 0.7), ("second", second, -0.4)):
        stack = stack.add(lora_kinds.save(tmp_path / f"{name}.safetensors", tensors), strength)
    expected = predict(merged(merged(model, first, 0.7), second, -0.4))
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5

    bypass, last = model, comfy.sd.load_bypass_lora_for_models(model, None, second, -0.4, 0)[0]
    for tensors, strength in ((first, 0.7), (second, -0.4)):
        bypass = comfy.sd.load_bypass_lora_for_models(bypass, None, tensors, strength, 0)[0]
    assert torch.equal(predict(bypass), predict(last))


def test_a_strength_per_step_gives_the_video_of_weights_changed_in_float64(
    model: ModelPatcher, scratch_model: ModelPatcher, size: WanSize, tmp_path: Path
) -> None:
    schedules = [StrengthSchedule.parse("keyframes:1=0.2,0.7=1.3"), StrengthSchedule.parse("fade_out@steps"), None]
    stack = LoraStack()
    for seed, schedule in enumerate(schedules):
        path = tmp_path / f"{seed}.safetensors"
        tensors = lora_kinds.layer_tensors(lora_kinds.lora, size, seed) | lora_kinds.table_tensors(size)
        stack = stack.add(lora_kinds.save(path, tensors), 0.5, schedule=schedule)
    patcher = bound(model, stack)
    found, expected = native.start(), native.start().double()
    for sigma, sigma_next in pairwise(SIGMAS):
        strengths = [0.5 if schedule is None else 0.5 * schedule.over(SIGMAS)(sigma) for schedule in schedules]
        native.set_weights(scratch_model, changed_weights(model, size, stack, strengths))
        x0 = predict(scratch_model, sigma, expected.float()).double()
        expected = x0 + (sigma_next / sigma) * (expected - x0)
        x0 = predict(patcher, sigma, found)
        found = x0 + (sigma_next / sigma) * (found - x0)
    assert relative_error(found, expected) < 1e-5


def test_a_noise_level_in_single_precision_is_the_one_that_was_planned(
    model: ModelPatcher, size: WanSize, tmp_path: Path
) -> None:
    """0.6 comes as 0.60000002 from the sampler, and a schedule that begins at 0.6 has begun."""
    assert float(torch.tensor(0.6)) > 0.6
    tensors = lora_kinds.layer_tensors(lora_kinds.lora, size)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors))
    expected = predict(bound(model, stack), 0.6)
    entry = replace(stack["lora"], schedule=StrengthSchedule.parse("hold:1=0,0.6=1"))
    assert torch.equal(predict(bound(model, LoraStack((entry,)), (1.0, 0.6, 0.0)), 0.6), expected)
