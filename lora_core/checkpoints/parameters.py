"""The parameters of a checkpoint as numbers, one at a time, whatever they are stored in.

Dtype policy: each comes in float32, 8-bit ones times their scale; nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from .checkpoint import Checkpoint, open_checkpoint
from .fp8 import describes_quantisation, split_fp8, widened


class Parameters(Mapping[str, Tensor]):
    """Tensor name -> the parameter in float32, read when it is looked up.

    Attributes:
        checkpoint: what the header says.
        dtypes: the forms that the matrices are stored in.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        split = split_fp8(checkpoint.tensors(), checkpoint.metadata, checkpoint.path, keep=lambda name, tensor: True)
        plain: dict[str, Callable[[], Tensor]] = {n: t.float for n, t in split.tensors.items()}
        packed = {self._name(path): pair for path, pair in split.layers.items()}
        self._read = plain | {name: lambda pair=pair: widened(*pair) for name, pair in packed.items()}
        matrices = [tensor for tensor in split.tensors.values() if tensor.ndim > 1]
        self.dtypes = frozenset(tensor.dtype for tensor in [*matrices, *(weight for weight, _ in packed.values())])

    def _name(self, path: str) -> str:
        """Return the name of an 8-bit tensor, which is a bare parameter where it has none ending in `.weight`."""
        return f"{path}.weight" if f"{path}.weight" in self.checkpoint.shapes else path

    def __getitem__(self, name: str) -> Tensor:
        return self._read[name]()

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.checkpoint.shapes if not describes_quantisation(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def is_8_bit(self) -> bool:
        """True when some matrices are stored in 8 bits, and so rounded to a few percent."""
        return any(dtype.itemsize == 1 for dtype in self.dtypes)


def open_parameters(path: Path) -> Parameters:
    """Open a checkpoint, single, sharded or a component's folder, of which no value is read yet."""
    checkpoint = open_checkpoint(path)
    if checkpoint.is_gguf:
        remedy = "Give the safetensors file that it was made from"
        raise ModelError(path, "is packed as GGUF, whose rounding is of the size of a training", remedy=remedy)
    return Parameters(checkpoint)


def widest(first: Parameters, second: Parameters) -> torch.dtype:
    """Return the dtype of the more precise of two."""
    return max((dtype for own in (first, second) for dtype in own.dtypes), key=lambda dtype: dtype.itemsize)
