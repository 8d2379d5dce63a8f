"""Small files as NVIDIA's post-training of Cosmos Predict2 writes them: a base with a LoRA inside, and its average."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lora_core.families.cosmos.spec import CosmosSize, shapes_of

#: The default of NVIDIA's configuration.
TARGETS = ("q_proj", "k_proj", "v_proj", "output_proj", "mlp.layer1", "mlp.layer2")
TINY = CosmosSize(32, 2, text_width=24, modulation_width=8, ffn_width=64, head_width=16)
RANK = 4


def base_tensors(size: CosmosSize = TINY, seed: int = 0) -> dict[str, Tensor]:
    """Return a base checkpoint without prefix, in bfloat16 as NVIDIA's."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {f"{target}.weight": shape for target, shape in shapes_of(size).items()}
    return {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()}


def is_target(path: str, targets: Sequence[str] = TARGETS) -> bool:
    return any(f".{path}".endswith(f".{target}") for target in targets)


def lora_pairs(
    size: CosmosSize = TINY, targets: Sequence[str] = TARGETS, rank: int = RANK, seed: int = 1
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return target -> (down, up) in float32."""
    generator = torch.Generator().manual_seed(seed)
    return {
        path: (torch.randn(rank, shape[1], generator=generator), torch.randn(shape[0], rank, generator=generator))
        for path, shape in shapes_of(size).items()
        if is_target(path, targets)
    }


def wrapped(
    base: dict[str, Tensor], pairs: dict[str, tuple[Tensor, Tensor]], prefix: str = "net."
) -> dict[str, Tensor]:
    """Return the state of a network whose layers have a LoRA around them, as PEFT names it."""
    state = {}
    for name, tensor in base.items():
        path = name.removesuffix(".weight")
        if path in pairs:
            down, up = pairs[path]
            state[f"{prefix}{path}.base_layer.weight"] = tensor
            state[f"{prefix}{path}.lora_A.default.weight"] = down
            state[f"{prefix}{path}.lora_B.default.weight"] = up
        else:
            state[f"{prefix}{name}"] = tensor
    for block in range(TINY.num_blocks):
        state[f"{prefix}blocks.{block}.self_attn.q_norm._extra_state"] = torch.empty(0, dtype=torch.uint8)
    state[f"{prefix}pos_embedder.seq"] = torch.arange(8.0)
    return state


def save_checkpoint(
    path: Path,
    pairs: dict[str, tuple[Tensor, Tensor]] | None = None,
    average: dict[str, tuple[Tensor, Tensor]] | None = None,
    size: CosmosSize = TINY,
) -> Path:
    """Write an `iter_000002000.pt`, with its moving average where that is given."""
    base = base_tensors(size)
    state = wrapped(base, lora_pairs(size) if pairs is None else pairs)
    if average is not None:
        state |= wrapped(base, average, "net_ema.")
    torch.save(state, path)
    return path
