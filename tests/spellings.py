"""The ways in which one LoRA is spelled in files: the table that a new dialect adds a row to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from lora_core.families.wan.names import to_diffusers


def native(path: str) -> str:
    return path


def diffusers(path: str) -> str:
    name = to_diffusers(f"{path}.weight")
    assert name is not None, path
    return name.removesuffix(".weight")


def flat(path: str) -> str:
    return path.replace(".", "_")


def flat_diffusers(path: str) -> str:
    return flat(diffusers(path))


def hybrid(path: str) -> str:
    """Write underscores up to the block's number and dots behind it, as seen in the wild."""
    return path.replace("blocks.", "blocks_", 1)


def mixed(path: str) -> str:
    """Write native attention names with diffusers' projections, as SimpleTuner's LyCORIS files do."""
    attention, _, part = path.rpartition(".")
    return flat(f"{attention}.to_{part}" if part in ("q", "k", "v") else path)


@dataclass(frozen=True)
class Spelling:
    """Be one way to write a LoRA.

    Attributes:
        leaves: the ends of the down and up factors' names.
        alpha: makes the alpha tensor, or None where the dialect has none and the scale is inside `up`.
    """

    prefix: str
    module: Callable[[str], str]
    leaves: tuple[str, str]
    alpha: Callable[[float], Tensor] | None = None


AB = ("lora_A.weight", "lora_B.weight")
DEFAULT = ("lora_A.default.weight", "lora_B.default.weight")
NAMED = ("lora_A.my_style.weight", "lora_B.my_style.weight")
DOWN_UP = ("lora_down.weight", "lora_up.weight")
DOTTED = ("lora.down.weight", "lora.up.weight")
LINEAR_LAYER = ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight")


def int_alpha(value: float) -> Tensor:
    return torch.tensor(int(value), dtype=torch.int64)


def one_element_alpha(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.bfloat16)


def float_alpha(value: float) -> Tensor:
    return torch.tensor(value)


SPELLINGS: Mapping[str, Spelling] = {
    "comfyui": Spelling("diffusion_model.", native, DOWN_UP, float_alpha),
    "comfyui without alpha": Spelling("diffusion_model.", native, DOWN_UP),
    "lightx2v, integer alpha": Spelling("diffusion_model.", native, DOWN_UP, int_alpha),
    "diffusion-pipe": Spelling("diffusion_model.", native, AB),
    "diffusion_model with diffusers names": Spelling("diffusion_model.", diffusers, AB),
    "diffusers": Spelling("transformer.", diffusers, AB),
    "diffusers before peft": Spelling("transformer.", diffusers, DOTTED),
    "diffusers with native names": Spelling("transformer.", native, AB),
    "linear layer": Spelling("unet.", diffusers, LINEAR_LAYER),
    "peft": Spelling("base_model.model.", diffusers, AB),
    "peft on the native model": Spelling("base_model.model.", native, AB),
    "peft, adapter's name": Spelling("base_model.model.", diffusers, NAMED),
    "peft around diffusion_model": Spelling("base_model.model.diffusion_model.", native, AB),
    "musubi-tuner": Spelling("lora_unet_", flat, DOWN_UP, float_alpha),
    "musubi-tuner, 1-element alpha": Spelling("lora_unet_", flat, DOWN_UP, one_element_alpha),
    "kohya with diffusers names": Spelling("lora_unet_", flat_diffusers, DOWN_UP, int_alpha),
    "kohya, dotted": Spelling("lora_unet_", hybrid, DOWN_UP, float_alpha),
    "kohya, all dots": Spelling("lora_unet_", native, DOWN_UP, float_alpha),
    "Wan-Fun": Spelling("lora_unet__", flat, DOWN_UP, float_alpha),
    "OneTrainer": Spelling("lora_transformer_", flat_diffusers, DOWN_UP, float_alpha),
    "lycoris": Spelling("lycoris_", flat, DOWN_UP, float_alpha),
    "SimpleTuner": Spelling("lycoris_", mixed, DOWN_UP, float_alpha),
    "DiffSynth": Spelling("", native, DEFAULT),
    "DiffSynth without default": Spelling("", native, AB),
    "DiffSynth pipe": Spelling("pipe.dit.", native, DEFAULT),
    "bare, down and up": Spelling("", native, DOWN_UP, int_alpha),
    "bare diffusers": Spelling("", diffusers, AB),
    "model": Spelling("model.", native, AB),
    "model.diffusion_model": Spelling("model.diffusion_model.", native, DOWN_UP, float_alpha),
    "unet": Spelling("unet.", native, DOTTED),
    "Mochi's trainer": Spelling("diffusion_model.", native, ("lora_A", "lora_B")),
    "distributed and compiled": Spelling("module._orig_mod.", native, AB),
}

#: target -> (outputs, inputs); of the pocket model, every kind of linear layer.
TARGETS: Mapping[str, tuple[int, int]] = {
    "blocks.0.self_attn.q": (128, 128),
    "blocks.0.self_attn.o": (128, 128),
    "blocks.1.cross_attn.k": (128, 128),
    "blocks.1.cross_attn.v": (128, 128),
    "blocks.3.ffn.0": (512, 128),
    "blocks.5.ffn.2": (128, 512),
    "head.head": (64, 128),
    "text_embedding.0": (128, 64),
    "text_embedding.2": (128, 128),
    "time_embedding.0": (128, 256),
    "time_projection.1": (768, 128),
}


def random_pairs(rank: int, seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Return target -> (down, up) in float32 for the pocket model."""
    generator = torch.Generator().manual_seed(seed)
    return {
        target: (torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator))
        for target, (outputs, inputs) in TARGETS.items()
    }


def spelled(spelling: Spelling, pairs: Mapping[str, tuple[Tensor, Tensor]], alpha: float) -> dict[str, Tensor]:
    """Return the tensors of a LoRA of this alpha, under the names of one spelling."""
    tensors = {}
    for target, (down, up) in pairs.items():
        module = spelling.prefix + spelling.module(target)
        scale = 1.0 if spelling.alpha else alpha / down.shape[0]
        tensors[f"{module}.{spelling.leaves[0]}"] = down
        tensors[f"{module}.{spelling.leaves[1]}"] = up * scale
        if spelling.alpha:
            tensors[f"{module}.alpha"] = spelling.alpha(alpha)
    return tensors


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Write tensors to a safetensors file, or a pickle where the suffix says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # written over in place, it would change under a reader that has it mapped
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, metadata=dict(metadata or {}))
    else:
        torch.save(dict(tensors), path)
    return path
