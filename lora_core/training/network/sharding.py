"""A network in training shared out among processes, each of which keeps a part of every parameter: torch's FSDP2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def shard(network: nn.Module, device: torch.device, num: int) -> None:
    """Share out a network; a block's parameters are whole only while it computes.

    It may be anywhere, and each block goes to the device by itself. Its parameters are replaced by others, which are
    the parts; so they may be no objects that somebody else holds.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network.register_forward_hook(_own_output)
    mesh = init_device_mesh(device.type, (num,))
    for block in _blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return the modules that diffusers says belong together."""
    names = tuple(getattr(network, "_no_split_modules", None) or ())
    return [module for module in network.modules() if type(module).__name__ in names]


def _own_output(network: nn.Module, inputs: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return an output that is no view of another tensor: torch hangs on it what gathers weights for the backward."""
    return tuple(tensor.clone() for tensor in output)
