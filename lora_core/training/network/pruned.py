"""A narrower copy of a network to train on, and a LoRA of it put back to the whole width.

Letters: O outputs, I inputs, R rank; LoRAM (arXiv 2502.13533), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...checkpoints.residency import Network
from ...deltas import Delta, Lora
from ...errors import TrainingError
from ...families.base import ModelSpec
from ...families.family import Kept
from ...families.registry import find_family
from .sharing import sharing_copy


def narrower(
    base: Network, spec: ModelSpec, share: float, device: torch.device | str | None
) -> tuple[nn.Module, Mapping[str, Kept]]:
    """Return a copy of a network with a share of its width cut, and target -> what is left of its layer.

    The copy owns its tensors, on the device and in the dtypes that it computes in.
    """
    family = find_family(spec)
    if family is None or family.prune_width is None:
        what = f"nobody knows which channels of {spec.title} belong together"
        raise TrainingError("prune_width", what, remedy="Leave it out")
    copied = sharing_copy(base.module)
    kept = family.prune_width(copied, share)
    for path, module in copied.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            dtype = base.dtypes.get(f"{path}.{name}" if path else name, parameter.dtype)
            own = parameter.detach().to(device, dtype, copy=True)
            setattr(module, name, nn.Parameter(own, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.detach().to(device, copy=True))
    return copied, kept


def scattered(delta: Delta, kept: Kept, shape: tuple[int, ...]) -> Lora:
    """Return a LoRA of a cut layer as one of the whole layer (O, I), zero where rows or columns were cut."""
    assert isinstance(delta, Lora), "AdapterSettings has seen to it"
    up, down = delta.up, delta.down
    if kept.rows is not None:
        up = torch.zeros(shape[0], up.shape[1], dtype=up.dtype).index_copy(0, kept.rows, up)
    if kept.columns is not None:
        down = torch.zeros(down.shape[0], shape[1], dtype=down.dtype).index_copy(1, kept.columns, down)
    return Lora(down, up, scale=delta.scale)
