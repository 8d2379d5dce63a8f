"""A file of named tensors: names, shapes and metadata at once, values one by one when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class TensorInfo(NamedTuple):
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class TensorFile:
    """One open file: names, shapes and metadata at once, values through `read`.

    Attributes:
        read: returns the tensor of a name, on the CPU, memory-mapped where the format allows it.
        read_numbers: returns name -> value for tensors of one element.
    """

    path: Path
    infos: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    num_bytes: int
    read: Callable[[str], Tensor]
    read_numbers: Callable[[Iterable[str]], dict[str, float]]
