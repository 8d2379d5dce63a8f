"""How several processes compute a Wan network together: diffusers has the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..base import ModelSpec
from ..family import Shape, TokenSplit


def _num_heads(network: Any) -> int:
    return int(network.config.num_attention_heads)


def _parts(spec: ModelSpec, latents: Shape, num_tokens: int) -> Mapping[str, int]:
    """Return the tokens of a clip, latents (B, C, F, H, W); cross-attention reads the whole text in each process."""
    frames, height, width = (size // patch for size, patch in zip(latents[2:], spec.patch_size, strict=True))
    return {"tokens of the clip": frames * height * width}


def _plan(network: nn.Module) -> None:
    """Leave it to diffusers (`WanTransformer3DModel._cp_plan`)."""


PARALLEL = TokenSplit(plan=_plan, num_heads=_num_heads, parts=_parts)
