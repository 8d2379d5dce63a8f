"""HunyuanVideo in ComfyUI: its native network is recognised, LoRAs act as merged ones do, and both engines agree."""

from __future__ import annotations

from pathlib import Path

import comfy.ldm.models.autoencoder
import comfy.model_management
import comfy.sd
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from native import SIGMAS, relative_error
from safetensors.torch import save_file
from torch import Tensor
from wanloom.lora_core import Condition, LoraStack, load_stack, route
from wanloom.lora_core.apply.attachment import attach
from wanloom.lora_core.checkpoints.residency import Residence
from wanloom.lora_core.families.hunyuan.forward import forward, packed
from wanloom.lora_core.families.hunyuan.names import fused, module_to_diffusers
from wanloom.lora_core.families.hunyuan.open import open_hunyuan
from wanloom.lora_core.families.hunyuan.spec import HunyuanSize, shapes_of
from wanloom.lora_core.families.hunyuan.vae import open_vae
from wanloom.nodes import bridge
from wanloom.nodes.load import describe, paired

as_in_a_node = native.as_in_a_node

#: ComfyUI's loader reads heads of 128 and a pooled text of 768 into every file of this architecture.
SIZE = HunyuanSize(width=128, mlp_width=512, num_double=2, num_single=2, text_width=768, in_channels=4, out_channels=4)
D, MLP = SIZE.width, SIZE.mlp_width
#: Fused and plain layers -> (outputs, inputs).
TARGETS = {
    "double_blocks.0.img_attn.qkv": (3 * D, D),
    "double_blocks.1.txt_attn.qkv": (3 * D, D),
    "double_blocks.1.img_mlp.0": (MLP, D),
    "single_blocks.0.linear1": (3 * D + MLP, D),
    "single_blocks.1.linear2": (D, D + MLP),
    "final_layer.adaLN_modulation.1": (2 * D, D),
}
SIGMA, STRENGTH = 0.8, 0.7


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "hunyuan.safetensors"
    generator = torch.Generator().manual_seed(0)
    state = {}
    for target, shape in shapes_of(SIZE, are_fused=True).items():
        noise = torch.randn(shape, generator=generator)
        small = 0.1 * noise if target.endswith(".bias") else noise / max(1, noise[0].numel()) ** 0.5
        name = target if target.endswith(".bias") else f"{target}.weight"
        state[name] = 1 + 0.1 * noise if len(shape) == 1 and not target.endswith(".bias") else small
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def model(file: Path) -> ModelPatcher:
    with torch.inference_mode():
        return comfy.sd.load_diffusion_model(str(file))


def lora(*, in_parts: bool) -> dict[str, Tensor]:
    """Return one LoRA, as trained on the native network or on diffusers' with the same changes."""
    generator = torch.Generator().manual_seed(1)
    tensors: dict[str, Tensor] = {}
    for target, (num_outputs, num_inputs) in TARGETS.items():
        down = 0.3 * torch.randn(4, num_inputs, generator=generator)
        up = torch.randn(num_outputs, 4, generator=generator)
        if not in_parts:
            tensors |= {f"diffusion_model.{target}.lora_A.weight": down, f"diffusion_model.{target}.lora_B.weight": up}
            continue
        parts = fused().get(target, (target,))
        if target.startswith("final_layer"):
            parts, up = ("final_layer.scale_shift",), torch.cat(up.chunk(2)[::-1])
        sizes = [D] * (len(parts) - 1) + [num_outputs - D * (len(parts) - 1)]
        for part, rows in zip(parts, up.split(sizes), strict=True):
            stem = f"transformer.{module_to_diffusers(part)}"
            tensors |= {f"{stem}.lora_A.weight": down.clone(), f"{stem}.lora_B.weight": rows.clone()}
    return tensors


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    shapes = (1, 4, 3, 8, 8), (1, 9, SIZE.text_width), (1, SIZE.pooled_width)
    x, text, pooled = (torch.randn(shape, generator=generator) for shape in shapes)
    return x, text, pooled


def predict(patcher: ModelPatcher) -> Tensor:
    """Return the velocity that a MODEL predicts, run as samplers run it."""
    comfy.model_management.load_models_gpu([patcher])
    x, text, pooled = inputs()
    options = patcher.model_options["transformer_options"] | {"wrappers": patcher.wrappers}
    told = {"c_crossattn": text, "y": pooled, "guidance": torch.tensor([6.0])}
    x0 = patcher.model.apply_model(x, torch.full((1,), SIGMA), transformer_options=options, **told)
    return (x - x0) / SIGMA


def stack_of(tmp_path: Path, *, in_parts: bool) -> LoraStack:
    path = tmp_path / "style.safetensors"
    save_file(lora(in_parts=in_parts), path)
    return LoraStack().add(path, STRENGTH)


def bound(model: ModelPatcher, stack: LoraStack) -> ModelPatcher:
    spec = bridge.spec_of(model, num_experts=1, where="test")
    return bridge.bind(model, route(load_stack(stack, spec), spec).for_expert("low_noise"), spec, SIGMAS)


def test_the_native_network_is_recognised(model: ModelPatcher) -> None:
    handle = paired(model, None, "test")
    assert handle.spec.family == "hunyuan"
    assert handle.spec.shapes["single_blocks.0.linear1"] == (3 * D + MLP, D)
    assert str(describe(handle)).startswith("HunyuanVideo (width 128, 2 + 2 blocks): one expert")


@pytest.mark.parametrize("in_parts", [False, True], ids=["fused", "in parts"])
def test_a_bound_lora_computes_what_core_computes_merged(model: ModelPatcher, tmp_path: Path, in_parts: bool) -> None:
    merged = comfy.sd.load_lora_for_models(model, None, lora(in_parts=False), STRENGTH, 0)[0]
    expected, plain = predict(merged), predict(model)
    assert relative_error(expected, plain) > 0.03
    assert relative_error(predict(bound(model, stack_of(tmp_path, in_parts=in_parts))), expected) < 1e-5
    assert torch.equal(predict(model), plain)


@pytest.mark.parametrize("in_parts", [False, True], ids=["fused", "in parts"])
def test_both_engines_predict_the_same(file: Path, model: ModelPatcher, tmp_path: Path, in_parts: bool) -> None:
    headless, stack = open_hunyuan(file, dtype=torch.float32), stack_of(tmp_path, in_parts=in_parts)
    x, text, pooled = inputs()
    told = packed(text[0], pooled[0], 256)[None]
    network = headless.expert("low_noise")
    plain = forward(network, headless.spec, x, SIGMA, told, Condition(told))
    assert relative_error(plain, predict(model)) < 1e-4
    loras = route(load_stack(stack, headless.spec), headless.spec).for_expert("low_noise")
    with attach(network, loras, headless.spec):
        changed = forward(network, headless.spec, x, SIGMA, told, Condition(told))
    assert relative_error(changed, plain) > 0.03
    assert relative_error(changed, predict(bound(model, stack))) < 1e-4


def test_the_vae_of_a_single_file_computes_what_comfyui_computes(tmp_path: Path) -> None:
    """Of one frame: with more, the attention in the middle sees back only in its authors' code and in diffusers'."""
    torch.manual_seed(3)
    levels = {"ch": 32, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    layout = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "conv3d": True}
    theirs = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig={**layout, **levels, "time_compress": 4}, embed_dim=4)
    state = {name: 0.05 * torch.randn(tensor.shape) for name, tensor in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    save_file(state, tmp_path / "vae.safetensors")
    ours = open_vae(tmp_path / "vae.safetensors", Residence(torch.device("cpu"), "none"))
    frames = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    latents = theirs.encode(frames)
    torch.testing.assert_close(ours.encode(frames), latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents), rtol=1e-4, atol=1e-4)
