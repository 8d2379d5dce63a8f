"""The two thin matrices whose product a change of a weight is, for every kind that has them.

Letters: R rank, O output channels, I input channels (times a convolution's kernel).
Dtype policy: `stored_factors` as the file has them, `thin_factors` in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .additive import Delta, Full, LoHa, LoKr, Lora
from .of_base import GLora, given
from .placed import Placed
from .stacked import Stacked

#: `down` (R, I) and `up` (O, R).
Pair = tuple[Tensor, Tensor]


def stored_factors(delta: Delta, num_outputs: int, base: Tensor | None) -> Pair | None:
    """Return `down` and `up` as they are stored, without the scale; None for a change that has none.

    A difference of a single row is of rank one. A LoRA whose outputs are not the matrix's rows (of a (1, 6, D) table,
    stored as (6, D)) has none that fit it.
    """
    if isinstance(delta, Placed) and delta.shape[0] == num_outputs:
        own = None if base is None else base.reshape(delta.shape)[delta.rows]
        pair = stored_factors(delta.inner, delta.inner.shape[0], own)
        return None if pair is None else (pair[0], delta.spread(pair[1]))
    if isinstance(delta, Lora) and delta.shape[0] == num_outputs:
        return delta.factors()
    if isinstance(delta, GLora) and len(delta.shape) == 2 and delta.shape[0] == num_outputs and base is not None:
        return delta.factors(base.reshape(delta.shape))
    if num_outputs == 1 and not delta.needs_base and isinstance(delta, (Full, Placed)):
        whole = delta.dense()
        return whole.reshape(1, -1), whole.new_ones(1, 1)
    return None


def thin_factors(delta: Delta, base: Tensor | None = None) -> Pair | None:
    """Return float32 `down` (R, I) and `up` (O, R) with `up @ down` the whole change at strength 1, scale included.

    LoHa and LoKr have them exactly, too, of more ranks than they store. None for a change that is no product thinner
    than itself: differences in full, and DoRA, OFT, BOFT and replacements, whose change holds the base.

    Raises:
        LoraMismatchError: a GLoRA, whose factors hold a product with the base, without it.
    """
    if isinstance(delta, GLora) or (isinstance(delta, Placed) and isinstance(delta.inner, GLora)):
        given(base, delta)
    if (pair := stored_factors(delta, delta.shape[0], base)) is not None:
        down, up = pair
        return down.float(), up.float() * delta.scale
    return _PRODUCTS[type(delta)](delta, base) if type(delta) in _PRODUCTS else None


def _of_loha(delta: LoHa, base: Tensor | None) -> Pair | None:
    """Multiply the halves rank by rank: (A1 B1) * (A2 B2) has the rows A1_o (x) A2_o and the columns B1_i (x) B2_i."""
    if delta.t1 is not None or delta.w1a.shape[1] * delta.w2a.shape[1] >= min(delta.w1a.shape[0], delta.w1b.shape[1]):
        return None
    up = torch.einsum("op,oq->opq", delta.w1a.float(), delta.w2a.float()).flatten(1)
    down = torch.einsum("pi,qi->pqi", delta.w1b.flatten(1).float(), delta.w2b.flatten(1).float()).flatten(0, 1)
    return down, delta.scale * up


def _of_lokr(delta: LoKr, base: Tensor | None) -> Pair | None:
    """Multiply the halves block by block: kron(U1 D1, U2 D2) = kron(U1, U2) kron(D1, D2)."""
    if delta.t2 is not None:
        return None
    down1, up1 = _halves(delta.w1, delta.w1a, delta.w1b)
    down2, up2 = _halves(delta.w2, delta.w2a, delta.w2b)
    outputs, inputs = up1.shape[0] * up2.shape[0], down1.shape[1] * down2.shape[1]
    if down1.shape[0] * down2.shape[0] >= min(outputs, inputs) or outputs != delta.shape[0]:
        return None
    return torch.kron(down1, down2), delta.scale * torch.kron(up1, up2)


def _halves(whole: Tensor | None, a: Tensor | None, b: Tensor | None) -> Pair:
    """Return `down` and `up` of a factor of a LoKr, with the identity beside one that is stored in full."""
    if whole is None:
        assert a is not None
        assert b is not None
        return b.flatten(1).float(), a.float()
    matrix = whole.flatten(1).float()
    outputs, inputs = matrix.shape
    if inputs < outputs:
        return torch.eye(inputs, device=matrix.device), matrix
    return matrix, torch.eye(outputs, device=matrix.device)


def _of_placed(delta: Placed, base: Tensor | None) -> Pair | None:
    pair = thin_factors(delta.inner, None if base is None else base.reshape(delta.whole)[delta.rows])
    return None if pair is None else (pair[0], delta.spread(pair[1]))


def _of_stacked(delta: Stacked, base: Tensor | None) -> Pair | None:
    """Lay the ranks of all rows beside each other, each acting on its own rows."""
    sizes = [size for _, size in delta.rows]
    bases = [None] * len(sizes) if base is None else list(base.reshape(delta.shape).split(sizes))
    given_rows = list(zip(delta.rows, bases, strict=True))
    pairs = [None if row is None else thin_factors(row, own) for (row, _), own in given_rows]
    if any(pair is None and row is not None for pair, (row, _) in zip(pairs, delta.rows, strict=True)):
        return None
    downs = [pair[0] for pair in pairs if pair is not None]
    blocks = [downs[0].new_zeros(size, 0) if pair is None else pair[1] for pair, size in zip(pairs, sizes, strict=True)]
    return torch.cat(downs), torch.block_diag(*blocks)


_PRODUCTS: Mapping[type[Delta], Callable[[Any, Tensor | None], Pair | None]] = {
    LoHa: _of_loha,
    LoKr: _of_lokr,
    Placed: _of_placed,
    Stacked: _of_stacked,
}
