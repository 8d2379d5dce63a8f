"""The inner products of what LoRAs change, layer by layer: all that sizes, alignment and amplification follow from.

Letters: L layers, N LoRAs, O outputs, I inputs, R ranks. For thin changes B_i A_i the product of two is
`<B_1 A_1, B_2 A_2> = tr((A_2 A_1') (B_1' B_2))`, two matrices of R x R; no matrix of the layer's size is made. A change
of no low rank is made in full for the one layer that is looked at.
Dtype policy: products of factors in float32, sums in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..progress import Progress, unheard
from .layers import Change, Layer, Thin


@dataclass(frozen=True, eq=False)
class Gram:
    """The changes of N LoRAs in L layers at strength 1, as far as their sizes and angles go.

    Attributes:
        targets: the layers.
        products: (L, N, N) float64; 0 where a LoRA does not act.
        norms: (L,) float64, the square of what changes are held against: of the base's weight, or of its output.
    """

    targets: tuple[str, ...]
    products: Tensor
    norms: Tensor

    @property
    def acts(self) -> Tensor:
        """(L, N) bool: which LoRA changes which layer."""
        return self.products.diagonal(dim1=1, dim2=2) > 0

    def layer_sizes(self, strengths: Sequence[float]) -> Tensor:
        """Return (L, N): how large each change is by what it is held against."""
        squares = self.products.diagonal(dim1=1, dim2=2) / self.norms[:, None]
        return squares.sqrt() * _row(strengths).abs()

    def sizes(self, strengths: Sequence[float]) -> Tensor:
        """Return (N,): the root mean square of the same over the layers that a LoRA changes."""
        squares = self.layer_sizes(strengths).square().sum(dim=0)
        return (squares / self.acts.sum(dim=0).clamp_min(1)).sqrt()

    def together(self, strengths: Sequence[float], *, relief: bool = True) -> float:
        """Return how large the sum of all changes is, over the layers that any of them changes.

        Args:
            strengths: (N,).
            relief: False lets no change take anything away from another.
        """
        if not len(self.targets):
            return 0.0
        matrix = self._weighted(strengths)
        total = matrix.sum() if relief else matrix.clamp_min(0).sum()
        num_layers = self.acts[:, _row(strengths) != 0].any(dim=1).sum().clamp_min(1)
        return float((total.clamp_min(0) / num_layers).sqrt())

    def amplification(self, strengths: Sequence[float]) -> float:
        """Return |sum of all changes| by the root of the sum of their squares: 1 where they are independent.

        The root of N where N equal ones are the same, 0 where they cancel.
        """
        matrix = self._weighted(strengths)
        alone = matrix.diagonal().sum()
        return float((matrix.sum().clamp_min(0) / alone).sqrt()) if alone > 0 else 1.0

    def alignment(self) -> Tensor:
        """Return (N, N): the cosine between the whole changes of two LoRAs, at strength 1."""
        return _cosines((self.products / self.norms[:, None, None]).sum(dim=0))

    def layer_alignment(self) -> Tensor:
        """Return (L, N, N): the same for each layer by itself."""
        return _cosines(self.products)

    def _weighted(self, strengths: Sequence[float]) -> Tensor:
        row = _row(strengths)
        return (self.products / self.norms[:, None, None]).sum(dim=0) * row[:, None] * row


def weights_gram(layers: Sequence[Layer], num_loras: int, progress: Progress = unheard) -> Gram:
    """Measure changes against the base's weights or, where no base is known, against matrices of ones.

    A layer whose base is all zero has no relative size, and is left out.
    """
    targets, products, norms = [], [], []
    for done, layer in enumerate(layers, start=1):
        norm = float(layer.shape[0] * layer.shape[1]) if layer.read_base is None else _square(layer.read_base())
        if norm > 0:
            targets.append(layer.target)
            products.append(inner_products(layer.changes(), num_loras))
            norms.append(norm)
        progress(done, len(layers), "layers")
    stacked = torch.stack(products) if products else torch.zeros(0, num_loras, num_loras, dtype=torch.float64)
    return Gram(tuple(targets), stacked, torch.tensor(norms, dtype=torch.float64))


@torch.no_grad()
def inner_products(changes: Mapping[int, Change], num_loras: int) -> Tensor:
    """Return (N, N) float64 of the changes of one layer."""
    found = torch.zeros(num_loras, num_loras, dtype=torch.float64)
    thin = {index: change for index, change in changes.items() if isinstance(change, Thin)}
    if thin:
        down = torch.cat([change.down for change in thin.values()])
        up = torch.cat([change.up for change in thin.values()], dim=1)
        _add_blocks(found, thin, (down @ down.T).double() * (up.T @ up).double())
    full = {index: change for index, change in changes.items() if isinstance(change, Tensor)}
    for index, matrix in full.items():
        for other, change in changes.items():
            if isinstance(change, Thin):
                found[index, other] = found[other, index] = (change.up.T @ matrix).mul(change.down).double().sum()
            elif other >= index:
                found[index, other] = found[other, index] = matrix.mul(change).double().sum()
    return found


def _add_blocks(found: Tensor, thin: Mapping[int, Thin], ranks: Tensor) -> None:
    """Add up, for each pair of LoRAs, the products of their ranks (R, R of all)."""
    sizes = [change.down.shape[0] for change in thin.values()]
    rows = [block.sum(dim=0) for block in ranks.split(sizes)]
    sums = torch.stack([torch.stack([part.sum() for part in row.split(sizes)]) for row in rows])
    places = torch.tensor(list(thin))
    found[places[:, None], places] += sums.cpu()


def _square(weight: Tensor) -> float:
    return float(weight.float().norm()) ** 2


def _row(strengths: Sequence[float]) -> Tensor:
    return torch.tensor(list(strengths), dtype=torch.float64)


def _cosines(products: Tensor) -> Tensor:
    """Return products (..., N, N) by the lengths of both; 0 where one has none."""
    lengths = products.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    both = lengths[..., :, None] * lengths[..., None, :]
    return torch.where(both > 0, products / both.clamp_min(torch.finfo(torch.float64).tiny), 0.0).clamp(-1, 1)
