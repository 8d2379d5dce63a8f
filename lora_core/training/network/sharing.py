"""A copy of a network's modules: around the same tensors, so that they move and rest for both, or around its own."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import nn

from ...checkpoints.residency import Network
from ...errors import TrainingError


def sharing_copy(network: nn.Module) -> nn.Module:
    """Copy a network's modules around the very same parameters and buffers."""
    if any(hasattr(module, "_diffusers_hook") for module in network.modules()):
        what = "a network whose blocks come and go by themselves cannot learn"
        remedy = "Open the model with offload none or experts"
        raise TrainingError("offload blocks", what, expected="none or experts", remedy=remedy)
    memo = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    copied: nn.Module = copy.deepcopy(network, memo)
    return copied


def own_tensors(copied: nn.Module, base: Network, device: torch.device | str | None) -> None:
    """Give a copy its own of all that it still shares, in the dtypes it computes in, so that the base may be let go."""
    shared = tensor_ids(base.module)
    for path, module in copied.named_modules():
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if id(tensor) in shared:
                dtype = base.dtypes.get(f"{path}.{name}" if path else name, tensor.dtype)
                own = tensor.detach().to(device, dtype, copy=True)
                setattr(module, name, nn.Parameter(own, requires_grad=False) if name in module._parameters else own)


def lent_copy(base: Network) -> nn.Module:
    """Copy a network at rest, in the dtypes it computes in; its tensors are other objects, with the same in them.

    So the copy may go elsewhere, tensor by tensor, and the base stays at rest.
    """
    copied = sharing_copy(base.module)
    for path, module in copied.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            dtype = base.dtypes.get(f"{path}.{name}" if path else name, parameter.dtype)
            setattr(module, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.detach())
    return copied


def tensor_ids(network: nn.Module) -> frozenset[int]:
    """Return what tells a network's tensors from others."""
    return frozenset(id(tensor) for tensor in chain(network.parameters(), network.buffers()))
