"""A stack on the layers of another pack, city96's ComfyUI-GGUF, which unpack their weights and know no weight wrapper.

Skipped unless the pack is found: in the folder that WANLOOM_TEST_GGUF names, or in ComfyUI's custom_nodes.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import comfy.sd
import folder_paths
import lora_kinds
import native
import numpy as np
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from native import bound, predict, relative_error
from sampling import SHIFT, core_custom
from torch import Tensor
from wanloom.lora_core import LoraStack, flow_sigmas
from wanloom.lora_core.families.wan.spec import WanSize
from wanloom.nodes.radial import RadialAttention

as_in_a_node = native.as_in_a_node
host = native.host

#: GGUF files carry no config: ComfyUI takes one head per 128 of width, and umt5's text width.
SIZE = WanSize(width=128, ffn_width=256, num_blocks=2, text_width=4096)


@pytest.fixture(scope="module")
def gguf() -> ModuleType:
    return pytest.importorskip("gguf", reason="the package gguf, which ComfyUI-GGUF needs, is not installed")


@pytest.fixture(scope="module")
def pack(gguf: ModuleType) -> ModuleType:
    """ComfyUI-GGUF, imported as ComfyUI does."""
    named = os.environ.get("WANLOOM_TEST_GGUF")
    folder = Path(named) if named else Path(os.environ["COMFYUI_PATH"]) / "custom_nodes" / "ComfyUI-GGUF"
    if not (folder / "__init__.py").is_file():
        pytest.skip("ComfyUI-GGUF was not found")
    spec = importlib.util.spec_from_file_location(
        "comfyui_gguf", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["comfyui_gguf"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package


@pytest.fixture
def model(pack: ModuleType, gguf: ModuleType) -> ModelPatcher:
    folder = Path(folder_paths.get_folder_paths("diffusion_models")[0])
    folder.mkdir(parents=True, exist_ok=True)
    write_gguf(gguf, native.state_dict(SIZE), folder / "tiny-Q8_0.gguf")
    return pack.NODE_CLASS_MAPPINGS["UnetLoaderGGUF"]().load_unet("tiny-Q8_0.gguf")[0]


@pytest.fixture
def exact(model: ModelPatcher, host: native.Host) -> ModelPatcher:
    """A MODEL of exactly the same weights, unpacked in float32."""
    state = {name: unpacked(model, name) for name in native.state_dict(SIZE)}
    return host.open(native.save_state(state, host.folder / "exact.safetensors", SIZE, num_heads=1))


def unpacked(model: ModelPatcher, name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    module = model.model.diffusion_model.get_submodule(path)
    parameter = getattr(module, leaf)
    if hasattr(module, "get_weight"):
        parameter = module.get_weight(parameter, torch.float32)
    return parameter.detach().as_subclass(Tensor).float().clone()


def write_gguf(gguf: ModuleType, state: dict[str, Tensor], path: Path) -> None:
    """Write a checkpoint as the pack's converter does: Q8_0 in the blocks, half and single precision elsewhere."""
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in state.items():
        array = tensor.numpy()
        if name.startswith("blocks.") and tensor.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        elif tensor.ndim == 2:
            writer.add_tensor(name, array.astype(np.float16))
        elif tensor.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(tensor.shape))
            writer.add_tensor(name, array.reshape(tensor.shape[0], -1))
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def packed_layers(make: lora_kinds.Make, seed: int = 0) -> dict[str, Tensor]:
    """Return a LoRA on the packed layers alone: into the others core rounds its merge to float16."""
    tensors = lora_kinds.layer_tensors(make, SIZE, seed)
    return {name: tensor for name, tensor in tensors.items() if ".blocks." in name}


KINDS: dict[str, Callable[[WanSize], dict[str, Tensor]]] = {**lora_kinds.FILES, **lora_kinds.BEYOND_CORE}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_acts_as_on_the_unpacked_weights(
    model: ModelPatcher, exact: ModelPatcher, tmp_path: Path, kind: str
) -> None:
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", KINDS[kind](SIZE)), 0.7)
    base = predict(model)
    assert relative_error(base, predict(exact)) < 1e-5
    expected = predict(bound(exact, stack))
    assert relative_error(expected, base) > 0.03
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5
    assert torch.equal(predict(model), base)


def test_a_lora_computes_what_core_computes_with_it(model: ModelPatcher, tmp_path: Path) -> None:
    tensors = packed_layers(lora_kinds.lora)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors), 0.7)
    expected = predict(comfy.sd.load_lora_for_models(model, None, dict(tensors), 0.7, 0)[0])
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5


def test_cores_loras_on_the_same_layers_act_too(model: ModelPatcher, tmp_path: Path) -> None:
    first, second = (packed_layers(make, seed=5) for make in (lora_kinds.lora, lora_kinds.loha))
    files = [lora_kinds.save(tmp_path / f"{i}.safetensors", tensors) for i, tensors in enumerate((first, second))]
    expected = predict(bound(model, LoraStack().add(files[0], 0.7).add(files[1], 0.5)))
    with_core = comfy.sd.load_lora_for_models(model, None, dict(second), 0.5, 0)[0]
    assert relative_error(predict(bound(with_core, LoraStack().add(files[0], 0.7))), expected) < 1e-5


def test_the_layers_take_the_injection_and_are_given_back(model: ModelPatcher, tmp_path: Path) -> None:
    stack = LoraStack().add(
        lora_kinds.save(tmp_path / "l.safetensors", lora_kinds.layer_tensors(lora_kinds.lora, SIZE))
    )
    patcher = bound(model, stack)
    layer = model.model.diffusion_model.blocks[0].self_attn.q
    assert type(layer).__module__ == "comfyui_gguf.ops"
    predict(patcher)
    assert "forward" in vars(layer)
    del patcher
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("kind", ["LoRA", "DoRA by output"])
def test_a_lora_in_a_part_of_the_clip_is_that_of_the_unpacked_weights(
    model: ModelPatcher, exact: ModelPatcher, tmp_path: Path, kind: str
) -> None:
    masked, plain = (lora_kinds.save(tmp_path / f"{name}.safetensors", KINDS[name](SIZE)) for name in (kind, "LoRA"))
    stack = LoraStack().add(plain, 0.4, name="plain").add(masked, 0.7, region="left", over_time="from frame 2")
    expected = predict(bound(exact, stack))
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5
    assert relative_error(predict(bound(model, stack.without(stack.entries[1].name))), expected) > 0.005


def test_radial_attention_is_that_of_the_unpacked_weights(model: ModelPatcher, exact: ModelPatcher) -> None:
    wishes = {"decay": "0.5", "first_steps": "1", "last_steps": "1", "first_blocks": "0", "executor": "auto"}
    levels = torch.tensor(flow_sigmas(4, SHIFT))
    text = [[torch.randn(1, 5, SIZE.text_width, generator=torch.Generator().manual_seed(1)), {}]]

    def sampled(patcher: ModelPatcher) -> Tensor:
        latent = {"samples": torch.zeros(1, 16, 9, 8, 8)}
        return core_custom(patcher, latent, positive=text, negative=text, sigmas=levels)[0]["samples"]

    found, expected = (sampled(RadialAttention.execute(model=one, **wishes).args[0]) for one in (model, exact))
    assert relative_error(found, expected) < 1e-4
    assert relative_error(found, sampled(model)) > 1e-3


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_partly_loaded_model_computes_the_same(model: ModelPatcher, tmp_path: Path, share: float) -> None:
    tensors = lora_kinds.layer_tensors(lora_kinds.dora, SIZE) | lora_kinds.norm_tensors(SIZE)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors), 0.7)
    expected = predict(bound(model, stack))
    native.unload()
    patcher = bound(model, stack)
    patcher.patch_model(torch.device("cpu"), lowvram_model_memory=max(1, int(share * patcher.model_size())))
    torch.testing.assert_close(predict(patcher, load=False), expected, rtol=1e-5, atol=1e-5)


def test_a_stacks_tensors_are_counted_and_a_strength_loads_nothing_again(model: ModelPatcher, tmp_path: Path) -> None:
    tensors = lora_kinds.layer_tensors(lora_kinds.lora, SIZE)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors))
    num_bytes = sum(lora.weights.num_bytes for lora in native.loaded(model, stack).loras)
    patcher = bound(model, stack)
    assert patcher.model_size() == model.model_size() + num_bytes
    predict(patcher)
    name = patcher.patches_uuid
    del patcher
    assert bound(model, stack.with_strength("lora", 0.5)).patches_uuid == name
    assert native.spec_of(model).shapes["blocks.0.ffn.0"] == (256, 128)
