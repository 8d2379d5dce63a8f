"""Random changes of every kind, small enough to be compared with their dense form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lora_core.deltas import Boft, Delta, Dora, Full, GLora, LoHa, LoKr, Lora, Oft, Placed, Replacement

Shape = Sequence[int]
Make = Callable[[Shape], Delta]


def lora(shape: Shape, rank: int = 3, scale: float = 0.5) -> Lora:
    """Make a low-rank change; of a convolution as (R, I, *K) and (O, R, 1, ...)."""
    ones = [1] * (len(shape) - 2)
    return Lora(_random(rank, *shape[1:]), _random(shape[0], rank, *ones), scale=scale)


def lora_flat(shape: Shape) -> Lora:
    """Make a low-rank change of a convolution that is stored as if it were a linear layer's."""
    return lora((shape[0], math.prod(shape[1:])))


def lora_with_mid(shape: Shape) -> Lora:
    ones = [1] * (len(shape) - 2)
    return Lora(_random(3, shape[1], *ones), _random(shape[0], 3, *ones), _random(3, 3, *shape[2:]), scale=2.0)


def loha(shape: Shape) -> LoHa:
    inputs = math.prod(shape[1:])
    halves = [_random(shape[0], 2), _random(2, inputs), _random(shape[0], 2), _random(2, inputs)]
    return LoHa(*halves, scale=0.25, target_shape=tuple(shape))


def loha_tucker(shape: Shape) -> LoHa:
    halves = [_random(2, shape[0]), _random(2, shape[1]), _random(2, shape[0]), _random(2, shape[1])]
    return LoHa(*halves, t1=_random(2, 2, *shape[2:]), t2=_random(2, 2, *shape[2:]))


def lokr(shape: Shape) -> LoKr:
    return LoKr(w1=_random(2, 2), w2=_random(shape[0] // 2, shape[1] // 2, *shape[2:]), scale=0.5)


def lokr_low_rank(shape: Shape) -> LoKr:
    inputs = math.prod(shape[1:]) // 2
    return LoKr(
        w1a=_random(2, 1),
        w1b=_random(1, 2),
        w2a=_random(shape[0] // 2, 2),
        w2b=_random(2, inputs),
        target_shape=tuple(shape),
    )


def full(shape: Shape) -> Full:
    return Full(_random(*shape))


def dora(shape: Shape) -> Dora:
    return Dora(lora(shape), _magnitude(shape[0]))


def dora_on_inputs(shape: Shape) -> Dora:
    ones = [1] * (len(shape) - 2)
    return Dora(lora(shape), _magnitude(1, shape[1], *ones))


def dora_of_lokr(shape: Shape) -> Dora:
    return Dora(lokr(shape), _magnitude(shape[0], 1))


def dora_of_loha_on_inputs(shape: Shape) -> Dora:
    ones = [1] * (len(shape) - 2)
    return Dora(loha(shape), _magnitude(1, shape[1], *ones))


def glora(shape: Shape) -> GLora:
    a, b = (_random(shape[1], 2), _random(2, shape[1])), (_random(shape[0], 2), _random(2, math.prod(shape[1:])))
    return GLora(*a, *b, scale=0.5, target_shape=tuple(shape))


def dora_of_glora(shape: Shape) -> Dora:
    return Dora(glora(shape), _magnitude(shape[0]))


def oft(shape: Shape) -> Oft:
    return Oft(_random(2, shape[0] // 2, shape[0] // 2), tuple(shape), constraint=0.4)


def boft(shape: Shape) -> Boft:
    ones = [1] * (len(shape) - 1)
    return Boft(_random(1, shape[0] // 2, 2, 2), tuple(shape), _magnitude(shape[0], *ones))


def replacement(shape: Shape) -> Replacement:
    return Replacement(_random(*shape))


def placed(make: Make) -> Make:
    """Return what makes a change of the second half of the outputs, in another order."""

    def make_placed(shape: Shape) -> Placed:
        rows = shape[0] // 2
        return Placed(make((rows, *shape[1:])), tuple(shape), shape[0] - rows, tuple(reversed(range(rows))))

    make_placed.__name__ = f"placed_{make.__name__}"
    return make_placed


_OF_BASE = (glora, dora_of_glora, oft, boft, replacement)

#: For linear layers (O, I) with even sizes that differ.
LINEAR: dict[str, Make] = {
    make.__name__: make
    for make in (
        *(lora, loha, lokr, lokr_low_rank, full, dora, dora_on_inputs, dora_of_lokr, dora_of_loha_on_inputs),
        *_OF_BASE,
        *map(placed, (lora, loha, full, dora, dora_on_inputs, glora)),
    )
}
#: For convolutions (O, I, *K).
CONVOLUTION: dict[str, Make] = {
    make.__name__: make
    for make in (
        *(lora, lora_flat, lora_with_mid, loha, loha_tucker, lokr, full, dora, dora_on_inputs, dora_of_lokr),
        *_OF_BASE,
        *map(placed, (lora, dora)),
    )
}


def dense_weight(weight: Tensor, deltas: Sequence[Delta], strengths: Sequence[float]) -> Tensor:
    """Return `W + sum(s_i * dense_i)` in float64, the definition that everything is compared with."""
    total = weight.double()
    for delta, strength in zip(deltas, strengths, strict=True):
        total = total + strength * delta.dense(weight).double().reshape(weight.shape)
    return total


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Return `|value - reference| / |reference|` (Frobenius)."""
    return float((value.double() - reference.double()).norm() / reference.double().norm())


class NumbersMade(TorchDispatchMode):
    """Count the elements of every tensor that an operation returns within the block."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.total += sum(item.numel() for item in (result,) if isinstance(item, Tensor))
        return result


def _random(*shape: int) -> Tensor:
    return 0.3 * torch.randn(*shape)


def _magnitude(*shape: int) -> Tensor:
    return 0.5 + torch.rand(*shape)
