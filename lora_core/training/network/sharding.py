"""A network in training shared out among processes, each of which keeps a part of every parameter: torch's FSDP2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .trainee import Trainee


def shard(trainee: Trainee, device: torch.device, num: int) -> Trainee:
    """Share out a trainee's network; a block's parameters are whole only while it computes.

    The network may be anywhere, each block goes to the device by itself; its parameters are no objects of the base,
    for torch puts others in their place. The weights of the trainee that is returned are the parts.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network = trainee.network
    paths = {id(parameter): path for path, parameter in network.named_parameters()}
    learning = {name: paths[id(weight)] for name, weight in trainee.weights.items()}
    network.register_forward_hook(_own_output)
    mesh = init_device_mesh(device.type, (num,))
    for block in _blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return replace(trainee, weights={name: network.get_parameter(path) for name, path in learning.items()})


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return the modules that diffusers says belong together."""
    names = tuple(getattr(network, "_no_split_modules", None) or ())
    return [module for module in network.modules() if type(module).__name__ in names]


def _own_output(network: nn.Module, inputs: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return an output that is no view of another tensor: torch hangs on it what gathers weights for the backward."""
    return tuple(tensor.clone() for tensor in output)
