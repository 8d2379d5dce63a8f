"""Stacks of random LoRAs in memory, loaded for the pocket model's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lora_core import LoadedStack, LoraStack, LoraWeights, load_stack, wan_spec
from lora_core.deltas import Delta, Lora

PAIR = wan_spec("wan-pocket")
TARGETS = ("blocks.0.self_attn.q", "blocks.2.ffn.0", "blocks.5.cross_attn.v")


def lora(seed: int, size: float = 1.0, *, rank: int = 4, targets: tuple[str, ...] = TARGETS) -> dict[str, Delta]:
    """Return the changes of a LoRA, each of about `size`."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Delta] = {}
    for target in targets:
        rows, columns = PAIR.shapes[target]
        down, up = (torch.randn(*shape, generator=generator) for shape in ((rank, columns), (rows, rank)))
        made[target] = Lora(down, up * size / (rows * columns * rank) ** 0.5)
    return made


def weights(name: str, deltas: Mapping[str, Delta], **fields: Any) -> LoraWeights:
    return LoraWeights(None, name, deltas, **fields)


def loaded(*rows: LoraWeights | tuple[LoraWeights, float], spec: Any = PAIR) -> LoadedStack:
    """Return a stack of LoRAs at strength 1, or at the strength beside them."""
    stack = LoraStack()
    for row in rows:
        own, strength = row if isinstance(row, tuple) else (row, 1.0)
        stack = stack.add(own, strength)
    return load_stack(stack, spec)
