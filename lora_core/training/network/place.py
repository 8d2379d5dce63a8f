"""Where a copy of a stored tensor goes, and in which dtype it computes there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """The place of copies of a network's tensors.

    Attributes:
        device: None for where a tensor is.
        dtypes: parameter's full name -> the dtype it computes in; a name not in it stays as stored.
    """

    device: torch.device | None = None
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)

    def copy(self, name: str, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor, which nothing else holds."""
        moved = self.bring(name, tensor)
        is_same = moved.untyped_storage()._cdata == tensor.untyped_storage()._cdata
        return moved.clone() if is_same else moved

    def bring(self, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor as it computes: itself, where it does so already."""
        return tensor.detach().to(self.device or tensor.device, self.dtypes.get(name, tensor.dtype))

    def module(self, module: nn.Module) -> nn.Module:
        """Return a copy of a module on the device, in the dtypes it has."""
        return copy.deepcopy(module).to(self.device)


HERE = Place()
