"""Small LoRA files that fit the models of `tiny.py`."""

from __future__ import annotations

from pathlib import Path

import tiny
import torch
from safetensors.torch import save_file

#: target -> (outputs, inputs)
TARGETS = {
    "blocks.0.self_attn.q": (tiny.WIDTH, tiny.WIDTH),
    "blocks.1.cross_attn.v": (tiny.WIDTH, tiny.WIDTH),
    "blocks.1.ffn.0": (tiny.FFN_WIDTH, tiny.WIDTH),
}


def save_lora(
    path: Path, seed: int = 0, *, rank: int = 4, size: float = 0.1, metadata: dict[str, str] | None = None
) -> Path:
    """Write a LoRA in the naming of ComfyUI's users, strong enough to see."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for target, (num_outputs, num_inputs) in TARGETS.items():
        name = f"diffusion_model.{target}"
        tensors[f"{name}.lora_down.weight"] = size * torch.randn(rank, num_inputs, generator=generator)
        tensors[f"{name}.lora_up.weight"] = size * torch.randn(num_outputs, rank, generator=generator)
    save_file(tensors, path, metadata=metadata)
    return path
