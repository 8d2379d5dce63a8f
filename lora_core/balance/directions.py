"""The layer in which two LoRAs are most alike or most opposed, and the angles between what they act on there.

Letters: O outputs, I inputs, R ranks. The cosines of the principal angles between two subspaces are the singular values
of Q_1' Q_2, with Q an orthonormal basis of each (Bjorck and Golub 1973, doi 10.1090/S0025-5718-1973-0348991-3).
Dtype policy: float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .gram import Gram
from .layers import Layer, Thin


@dataclass(frozen=True)
class Closest:
    """The layer in which two LoRAs are most aligned, or most opposed.

    Attributes:
        first, second: places of the LoRAs among those of the expert.
        alignment: the cosine between both changes at strength 1.
        outputs, inputs: the principal angles in degrees, the smallest first, between the outputs that both write to,
            and the inputs that both read; empty where a change is not of low rank.
    """

    target: str
    first: int
    second: int
    alignment: float
    outputs: tuple[float, ...] = ()
    inputs: tuple[float, ...] = ()


def closest_layers(gram: Gram, layers: Sequence[Layer], num_pairs: int) -> tuple[Closest, ...]:
    """Return the pairs with the largest alignment of either sign in any layer, each in that layer, with its angles."""
    alignment = gram.layer_alignment()
    num_loras = alignment.shape[1]
    rows, columns = torch.triu_indices(num_loras, num_loras, offset=1)
    if not len(alignment) or not len(rows):
        return ()
    by_target = {layer.target: layer for layer in layers}
    of_pairs = alignment[:, rows, columns]  # (L, pairs)
    most, places = of_pairs.abs().max(dim=0)
    found = []
    for pair in most.argsort(descending=True)[:num_pairs].tolist():
        if most[pair] == 0:
            break
        layer = by_target[gram.targets[int(places[pair])]]
        found.append(_closest(layer, int(rows[pair]), int(columns[pair]), float(of_pairs[places[pair], pair])))
    return tuple(found)


def _closest(layer: Layer, first: int, second: int, alignment: float) -> Closest:
    changes = layer.changes()
    one, other = changes[first], changes[second]
    if not (isinstance(one, Thin) and isinstance(other, Thin)):
        return Closest(layer.target, first, second, alignment)
    outputs = principal_angles(one.up, other.up)
    inputs = principal_angles(one.down.T, other.down.T)
    return Closest(layer.target, first, second, alignment, outputs, inputs)


def principal_angles(first: Tensor, second: Tensor) -> tuple[float, ...]:
    """Return the angles in degrees between the spans of two sets of columns (N, R), the smallest first."""
    one, other = (_basis(vectors) for vectors in (first, second))
    cosines = torch.linalg.svdvals(one.T @ other).clamp(-1, 1)
    return tuple(math.degrees(math.acos(float(cosine))) for cosine in cosines)


def _basis(vectors: Tensor) -> Tensor:
    """Return an orthonormal basis of what columns span; directions without length are none."""
    left, values, _ = torch.linalg.svd(vectors.float(), full_matrices=False)
    return left[:, values > values.max() * 1e-5]
