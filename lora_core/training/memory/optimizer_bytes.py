"""The bytes that an optimiser keeps for a weight that learns, from its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, prod

from ..settings.learning import OptimizerName

Shape = tuple[int, ...]

#: bitsandbytes keeps the state of smaller weights in 32 bits, and one scale for each block of 8-bit states.
_SMALLEST_8BIT, _BLOCK_8BIT = 4096, 256


def _adamw(shape: Shape) -> int:
    return 8 * prod(shape)


def _adamw8bit(shape: Shape) -> int:
    numel = prod(shape)
    return 8 * numel if numel < _SMALLEST_8BIT else 2 * numel + 2 * 4 * ceil(numel / _BLOCK_8BIT)


def _adafactor(shape: Shape) -> int:
    """Return a row's and a column's sums of squares; of a vector, all squares."""
    if len(shape) < 2:
        return 4 * prod(shape)
    return 4 * prod(shape[:-2]) * (shape[-2] + shape[-1])


def _prodigy(shape: Shape) -> int:
    """Return both moments, the sum of gradients and the first weights; a weight that began as zero has no such."""
    return 16 * prod(shape)


def _muon(shape: Shape) -> int:
    """Return the momentum of a matrix; what is none has AdamW's two."""
    return (4 if len(shape) == 2 else 8) * prod(shape)


STATE_BYTES: Mapping[OptimizerName, Callable[[Shape], int]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "adafactor": _adafactor,
    "prodigy": _prodigy,
    "muon": _muon,
}
