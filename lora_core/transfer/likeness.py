"""What is known of one layer of a transfer: how alike the two bases are there, and how large the change is on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..checks import counted

_NUM_SHOWN = 5


@dataclass(frozen=True)
class Likeness:
    """One layer.

    Attributes:
        outputs, inputs: mean squared cosine of the principal angles between the bases' leading directions; see
            `subspaces.py`.
        by_chance: what two unrelated weights of this shape would have, the mean of both sides.
        size, size_there: the change by the base's weight (Frobenius), where it comes from and where it goes.
        norm: of the change.
        overlap: <W_to - W_from, change>, how far the new base has gone the change's way already.
    """

    target: str
    outputs: float
    inputs: float
    by_chance: float
    size: float
    size_there: float
    norm: float
    overlap: float

    @property
    def alike(self) -> float:
        """The mean of both sides."""
        return (self.outputs + self.inputs) / 2


def overlap(change: Tensor, source: Tensor, target: Tensor) -> float:
    """Return <W_to - W_from, change> of three tensors of one shape."""
    return float(torch.sum((target - source).double() * change.double()))


def strength_hint(layers: Sequence[Likeness]) -> float:
    """Return the strength at which the new base with the LoRA is nearest to the old base with it: least squares.

    s minimises sum |W_from + C - (W_to + s C)|^2 over all layers, so s = 1 - sum <W_to - W_from, C> / sum |C|^2: 1
    where the bases differ in other ways than the LoRA's, 0 where the new base has learnt the same already.
    """
    return 1 - sum(layer.overlap for layer in layers) / sum(layer.norm**2 for layer in layers)


def likeness_text(layers: Sequence[Likeness]) -> list[str]:
    """Return the report of all layers as lines: the means, the strength, and the least alike by name."""
    mean = sum(layer.alike for layer in layers) / len(layers)
    chance = sum(layer.by_chance for layer in layers) / len(layers)
    size, there = (sum(getattr(layer, name) for layer in layers) / len(layers) for name in ("size", "size_there"))
    least = sorted(layers, key=lambda layer: layer.alike)[:_NUM_SHOWN]
    return [
        f"bases alike {mean:.3f} over {counted(len(layers), 'layer')} (1 the same leading directions, {chance:.3f} by "
        f"chance)",
        f"size of the change by the weight: {size:.4f} there, {there:.4f} here",
        f"strength to begin with: {strength_hint(layers):.2f}",
        f"least alike: {', '.join(f'{layer.target} {layer.alike:.3f}' for layer in least)}",
    ]


def likeness_rows(layers: Sequence[Likeness]) -> list[dict[str, object]]:
    """Return plain data for JSON."""
    return [asdict(layer) | {"alike": layer.alike} for layer in layers]
