"""A network whose own weights learn, all or some, and what they then differ by from the base's.

Dtype policy: what learns is float32; it is narrowed, each time it is used, to the dtype that the base computes in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...checkpoints.residency import Network
from ...deltas import Delta, Full
from ...errors import TrainingError
from ...families.base import ModelSpec
from ..settings.adapter import AdapterSettings
from .targets import EVERYTHING, chosen_blocks, chosen_layers


def widen(
    copied: nn.Module, base: Network, spec: ModelSpec, settings: AdapterSettings, device: torch.device | str | None
) -> dict[str, str]:
    """Give a copy float32 weights of its own that learn; return their own name -> their name in the copy."""
    names = {}
    for path, name in _learning(base.module, spec, settings).items():
        owner_path, _, leaf = path.rpartition(".")
        owner = copied.get_submodule(owner_path)
        shared = base.module.get_parameter(path).detach()
        dtype = base.dtypes.get(path, shared.dtype)
        setattr(owner, leaf, nn.Parameter(shared.to(device, torch.float32, copy=True)))
        names[name] = path
        if dtype != torch.float32:  # autocast would also narrow what its authors keep wide, such as the time
            parametrize.register_parametrization(owner, leaf, _Narrowed(dtype), unsafe=True)
            names[name] = f"{owner_path}.parametrizations.{leaf}.original".lstrip(".")
    return names


class _Narrowed(nn.Module):
    """A wide weight in the dtype that its network computes in."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, weight: Tensor) -> Tensor:
        return weight.to(self.dtype)


class Differences(Mapping[str, Delta]):
    """Target -> what a weight that learns now differs by from the base's, computed when it is looked up."""

    def __init__(self, weights: Mapping[str, Tensor], base: nn.Module, spec: ModelSpec) -> None:
        self._weights = {name.removesuffix(".weight"): weight for name, weight in weights.items()}
        self._base = base
        self._spec = spec

    def __getitem__(self, target: str) -> Delta:
        learnt = self._weights[target].detach().cpu()
        path, leaf = self._spec.parameter_path(target, self._base)
        return Full(learnt - self._base.get_submodule(path).get_parameter(leaf).detach().cpu().float())

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _learning(network: nn.Module, spec: ModelSpec, settings: AdapterSettings) -> dict[str, str]:
    """Return full name in the network -> full name in the model's own words, of the weights that learn."""
    names = {path: own_name(path, spec) for path, _ in network.named_parameters()}
    if settings.targets != EVERYTHING:
        layers = chosen_layers(network, spec, settings.targets, settings.used_blocks)
        wanted = {f"{layer.path}.{leaf}" for layer in layers for leaf in ("weight", "bias")}
        names = {path: name for path, name in names.items() if path in wanted}
    elif settings.used_blocks:
        numbers = chosen_blocks(settings.used_blocks, spec)
        names = {p: n for p, n in names.items() if (found := spec.block_of(n)) and found[0] in numbers}
    for path, name in names.items():
        parameter = network.get_parameter(path)
        if not parameter.is_floating_point() or parameter.element_size() < 2:
            what = f"the weights of {name!r} are packed ({parameter.dtype}), and cannot learn themselves"
            remedy = "Open the model from weights of 16 or 32 bits, or train a LoRA"
            raise TrainingError("method full", what, remedy=remedy)
    return names


def own_name(path: str, spec: ModelSpec) -> str:
    """Return the model's own full name of a parameter."""
    module_path, _, leaf = path.rpartition(".")
    if leaf in ("weight", "bias") and (own := spec.find(module_path)):
        return f"{own}.{leaf}"
    return spec.find(path) or path
