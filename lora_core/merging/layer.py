"""The merging of one parameter: many changes of it made one, with what that loses.

Letters: O outputs, I inputs, R rank. Dtype policy: products in float32, cores in float64; what is stored is rounded to
the recipe's dtype, and the rounding counts in the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..deltas import Delta, Full, Lora
from ..deltas.thin import Pair
from ..files.extract import Fit
from .changes import Change, nearest_pair, whole_of, widest_dtype
from .core import Core
from .methods import MERGES
from .recipe import MergeRecipe

#: Of what is smaller than the largest singular value by this, float32 keeps nothing.
_NOTHING = 1e-7


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A merged change by its singular values, before it is cut.

    Attributes:
        core: the bases that everything here is in.
        total: (K, J), the sum of the changes.
        left, values, right: (K, M), (M,), (M, J), what the method made of them, decomposed.
        whole: the sum in full, where a change that is not thin was in it.
    """

    core: Core
    total: Tensor
    left: Tensor
    values: Tensor
    right: Tensor
    whole: Tensor | None = None

    @property
    def norm(self) -> float:
        """The norm of the sum of the changes (Frobenius)."""
        return float(self.total.norm() if self.whole is None else self.whole.norm())

    @property
    def rank(self) -> int:
        """How many singular values there are beside float32's noise."""
        return int((self.values > _NOTHING * self.values[0]).sum())

    def rank_for(self, energy: float) -> int:
        """Return the fewest ranks whose squares are this share of all, or all that there are."""
        squares = self.values.square().cumsum(0)
        wanted = energy * (self.norm**2 if self.whole is not None else float(squares[-1]))
        return min(self.rank, int((squares < wanted * (1 - _NOTHING)).sum()) + 1)

    def factors(self, rank: int) -> Pair:
        """Return `down` (R, I) and `up` (O, R) of the first ranks, the singular values shared between the two."""
        half = self.values[:rank].sqrt()
        up = self.core.left @ (self.left[:, :rank] * half).float()
        return (half[:, None] * self.right[:rank]).float() @ self.core.right, up

    def lost(self, rank: int) -> float:
        """Return the norm of what the first ranks lack of the sum."""
        return float((self.total - (self.left[:, :rank] * self.values[:rank]) @ self.right[:rank]).norm())


def merged_in_full(target: str, changes: Sequence[Change], recipe: MergeRecipe) -> tuple[Delta | None, Fit]:
    """Return the sum of changes of a bias, norm or table, or of such as `concat` cannot hold side by side."""
    whole = whole_of(changes)
    stored = exact(whole, recipe.dtype or widest_dtype(changes)) if recipe.dtype is None else whole.to(recipe.dtype)
    fit = Fit(target, 0, float(whole.norm()), float((stored.float() - whole).norm()))
    return (Full(stored) if fit.norm else None), fit


def as_it_is(target: str, changes: Sequence[Change], rank: int, recipe: MergeRecipe) -> tuple[Delta, Fit] | None:
    """Return a change alone of no more ranks than asked for, untouched; None where there is something to do."""
    first = changes[0]
    is_whole = len(changes) == 1 and first.factor == 1 and recipe.dtype in (None, widest_dtype(changes))
    if not is_whole or not isinstance(first.delta, Lora) or first.delta.rank > rank:
        return None
    norm = first.delta.norm()
    return (first.delta, Fit(target, first.delta.rank, norm, 0.0)) if norm else None


def side_by_side(target: str, changes: Sequence[Change], recipe: MergeRecipe) -> tuple[Delta | None, Fit]:
    """Return the ranks of all changes beside each other, which is their sum exactly."""
    pairs = [pair for change in changes if (pair := change.thin()) is not None]
    if len(pairs) < len(changes):
        return merged_in_full(target, changes, recipe)
    down, up = torch.cat([down for down, _ in pairs]), torch.cat([up for _, up in pairs], dim=1)
    stored = recipe.dtype or widest_dtype(changes)
    kept = [part.to(stored) if recipe.dtype else exact(part, stored) for part in (down, up)]
    norm = _norm_of_product(up, down)
    fit = Fit(target, down.shape[0], norm, _rounding((down, up), (kept[0], kept[1])))
    return (_lora(kept[0], kept[1], changes[0].delta.shape) if norm else None), fit


def spectrum_of(target: str, changes: Sequence[Change], recipe: MergeRecipe) -> Spectrum:
    """Merge changes of a matrix by the recipe's method."""
    pairs = [change.thin() for change in changes]
    whole = whole_of(changes).flatten(1) if None in pairs else None
    if whole is not None and recipe.method == "svd":
        thin = [nearest_pair(whole, recipe.rank)]
    else:
        made = zip(changes, pairs, strict=True)
        thin = [nearest_pair(change.whole(), recipe.rank) if pair is None else pair for change, pair in made]
    core, total, merged = MERGES[recipe.method](thin, recipe, target)
    left, values, right = torch.linalg.svd(merged, full_matrices=False)
    return Spectrum(core, total, left, values, right, whole)


def cut(
    target: str, spectrum: Spectrum, rank: int, changes: Sequence[Change], recipe: MergeRecipe
) -> tuple[Delta | None, Fit]:
    """Keep the first ranks of a merged change."""
    if rank == 0 or not spectrum.norm:
        return None, Fit(target, 0, spectrum.norm, spectrum.norm)
    down, up = spectrum.factors(rank)
    stored = recipe.dtype or widest_dtype(changes)
    kept_down, kept_up = down.to(stored), up.to(stored)
    if spectrum.whole is not None:
        lost = float((spectrum.whole - kept_up.float() @ kept_down.float()).norm())
    else:
        lost = math.hypot(spectrum.lost(rank), _rounding((down, up), (kept_down, kept_up)))
    return _lora(kept_down, kept_up, changes[0].delta.shape), Fit(target, rank, spectrum.norm, lost)


def exact(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in a narrower dtype where that holds every value of it, else as it is."""
    narrow = tensor.to(dtype)
    return narrow if torch.equal(narrow.float(), tensor) else tensor


def _lora(down: Tensor, up: Tensor, shape: tuple[int, ...]) -> Lora:
    """Return factors in the shapes that a parameter of this shape has them in."""
    ones = [1] * (len(shape) - 2)
    return Lora(down.reshape(-1, *shape[1:]).contiguous(), up.reshape(*up.shape, *ones).contiguous())


def _rounding(made: Pair, kept: Pair) -> float:
    """Return the norm of what rounding has moved, a sum of two small products that no difference is taken of."""
    if kept[0].dtype == kept[1].dtype == torch.float32:
        return 0.0
    down, up = (part.float() for part in kept)
    return _norm_of_product(torch.cat([up - made[1], up], dim=1), torch.cat([made[0], down - made[0]]))


def _norm_of_product(up: Tensor, down: Tensor) -> float:
    """Return the norm of `up @ down` from R x R products."""
    square = float(((up.T @ up).double() * (down @ down.T).double()).sum())
    return math.sqrt(max(square, 0.0))
