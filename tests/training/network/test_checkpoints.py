"""Training on checkpoints that are packed already: a LoRA learns on them as on what they unpack to."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import tiny
import torch
from torch import nn
from trainees import gradients, stir

from lora_core.errors import TrainingError
from lora_core.families.wan.open import open_wan
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings

LORA = AdapterSettings(rank=4)


def worst_difference(base: nn.Module, wide: nn.Module) -> float:
    """Return by how much the gradients of one LoRA on both differ, relative to their size."""
    trainee, twin = make_trainee(base, LORA), make_trainee(wide, LORA)
    for each in (trainee, twin):
        stir(each)
    ours, theirs = gradients(trainee), gradients(twin)
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)


@pytest.mark.parametrize("form", ["scaled", "comfy_quant"])
def test_a_lora_learns_on_8_bit_weights_and_what_has_to_read_them_is_refused(tmp_path: Path, form: str) -> None:
    files = tiny.save_files(tmp_path)
    tiny.save_fp8(tiny.transformer(), files.high, form)
    base = open_wan(files.high, **files.arguments()).expert("high_noise")
    wide = copy.deepcopy(tiny.transformer())
    wide.load_state_dict({**wide.state_dict(), **widened(base)})
    assert worst_difference(base, wide) < 1e-3
    with pytest.raises(TrainingError, match=r"dora has to read the weight of 'blocks.0.self_attn.q', which is packed"):
        make_trainee(base, AdapterSettings(rank=4, adapter="dora"))
    with pytest.raises(TrainingError, match=r"are packed .*, and cannot learn themselves"):
        make_trainee(base, AdapterSettings(method="full"))
    assert make_trainee(base, AdapterSettings(method="qlora", rank=4, adapter="dora")).deltas()


def test_a_lora_learns_on_gguf_weights_and_they_are_not_packed_twice(tmp_path: Path) -> None:
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    files = tiny.save_files(tmp_path)
    path = tiny.save_gguf(tiny.transformer(), tmp_path / "tiny_high_noise.gguf")
    base = open_wan(path, **files.arguments()).expert("high_noise")
    wide = copy.deepcopy(tiny.transformer())
    for name, parameter in base.named_parameters():
        wide.get_parameter(name).data = dequantize_gguf_tensor(parameter).float()
    assert worst_difference(base, wide) < 1e-3
    for settings in (AdapterSettings(method="qlora", rank=4), AdapterSettings(rank=4, adapter="dora")):
        with pytest.raises(TrainingError, match="is packed"):
            make_trainee(base, settings)


def widened(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return all tensors of a network, its 8-bit weights widened."""
    state = {name: tensor.float() for name, tensor in network.state_dict().items()}
    for path, module in network.named_modules():
        if hasattr(module, "dequantised_weight"):
            state[f"{path}.weight"] = module.dequantised_weight(torch.float32)
    return state
