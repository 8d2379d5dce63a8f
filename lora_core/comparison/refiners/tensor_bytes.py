"""The bytes that a tuning's tensors take, computed: weights as they are kept, gradients and the optimiser's states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

#: Optimiser -> bytes of state for every number that learns: two moments in float32, or in 8 bits, or less.
_STATES = {
    "adamw": 8.0,
    "paged_adamw": 8.0,
    "adamw_8bit": 2.0,
    "paged_adamw_8bit": 2.0,
    "sgd": 0.0,
}


@dataclass(frozen=True)
class TensorBytes:
    """What is held of each kind; `states` is None where it cannot be told."""

    weights: int
    gradients: int
    states: int | None


def tensor_bytes(network: Any, optimizer: str) -> TensorBytes:
    """Count the bytes of a network that learns; activations and buffers of libraries are not among them."""
    weights = list(network.parameters())
    learnt = [weight for weight in weights if weight.requires_grad]
    per_number = _STATES.get(optimizer)
    return TensorBytes(
        weights=sum(_size(part) for weight in weights for part in _parts(weight)),
        gradients=sum(_size(weight) for weight in learnt),
        states=None if per_number is None else round(per_number * sum(weight.numel() for weight in learnt)),
    )


def _parts(weight: Tensor) -> Iterator[Tensor]:
    """Yield what a weight is kept as: itself, and where it is packed the statistics of its blocks, packed in turn."""
    yield weight.data
    state = getattr(weight, "quant_state", None)
    while state is not None:
        yield state.absmax
        if state.offset is not None:
            yield state.offset
        state = state.state2


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
