"""A network in training shared out among processes, each of which keeps a part of every parameter: torch's FSDP2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .trainee import Trainee


def shard(trainee: Trainee, device: torch.device, num: int) -> Trainee:
    """Share out a trainee's network; a block's parameters are whole only while it computes.

    The weights of the trainee that is returned are the parts. The base, whose tensors the network had so far, keeps
    them.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network = trainee.network
    paths = {id(parameter): path for path, parameter in network.named_parameters()}
    learning = {name: paths[id(weight)] for name, weight in trainee.weights.items()}
    _part_from_base(network)
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


def _part_from_base(network: nn.Module) -> None:
    """Let a network hold its frozen tensors as objects of its own, for torch puts others into those it shares out."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not parameter.requires_grad:
                module._parameters[name] = nn.Parameter(parameter.detach(), requires_grad=False)
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = buffer.detach()


def _own_output(network: nn.Module, inputs: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return an output that is no view of another tensor: torch hangs on it what gathers the weights for the backward."""
    return tuple(tensor.clone() for tensor in output)
