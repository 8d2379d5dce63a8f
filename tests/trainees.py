"""What the tests of networks in training have in common: calls, steps, and the changed base."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lora_core.deltas import Delta
from lora_core.families.registry import spec_of_module
from lora_core.training.network.trainee import Trainee


def call(network: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
    """Run a tiny or pocket network once on a fixed input."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(2, network.config["in_channels"], 2, 4, 4, generator=generator).to(dtype)
    text = torch.randn(2, 16, network.config["text_dim"], generator=generator).to(dtype)
    return network(x, torch.tensor([900.0, 400.0]), text, return_dict=False)[0]


def learn(trainee: Trainee, num_steps: int = 2) -> None:
    """Take a few large steps."""
    optimiser = torch.optim.AdamW(trainee.weights.values(), lr=0.02)
    for _ in range(num_steps):
        (call(trainee.network) - 1).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()


def stir(trainee: Trainee, seed: int = 1) -> None:
    """Move every weight that learns off its first value, zeros too."""
    generator = torch.Generator().manual_seed(seed)
    for weight in trainee.weights.values():
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)


def gradients(trainee: Trainee, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the gradient of every weight that learns, of a fixed loss."""
    for weight in trainee.weights.values():
        weight.grad = None
    (call(trainee.network, dtype).float() - 1).square().mean().backward()
    return {name: weight.grad.clone() for name, weight in trainee.weights.items()}


def with_deltas(base: nn.Module, deltas: Mapping[str, Delta]) -> nn.Module:
    """Return a copy of a network whose weights are changed by the dense form of the deltas."""
    changed = copy.deepcopy(base)
    spec = spec_of_module(base)
    for target, delta in deltas.items():
        path, leaf = spec.parameter_path(target, changed)
        weight = changed.get_submodule(path).get_parameter(leaf)
        weight.data += delta.dense(weight.data).reshape(weight.shape)
    return changed
