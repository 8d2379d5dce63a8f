"""The factors of all changes that a stack makes to one parameter, laid side by side on one device.

Letters: T tokens, I inputs (times the kernel of a convolution), O outputs, R the ranks of the whole stack together.
Every parameter counts as a matrix (O, I) here; what has fewer than two axes is one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..deltas import Delta, Dora, Full, GLora, Lora, Placed
from .strengths import Strengths


@dataclass(frozen=True, eq=False)
class Term:
    """One LoRA's change of one parameter.

    Attributes:
        index: the LoRA's position in the stack, and so in its strengths.
        factor: the target filter's factor on the strength.
        target: what it changes, by its canonical name; asked for where LoRAs are masked.
    """

    index: int
    delta: Delta
    factor: float = 1.0
    target: str = ""


@dataclass(frozen=True, eq=False)
class Factors:
    """A stack's changes of one parameter, ready to multiply with.

    Attributes:
        down: (R, I), the inner halves of all low-rank changes under each other.
        up: (O, R), their outer halves beside each other.
        owner: (R,), which LoRA of the stack each rank belongs to.
        scale: (R,) float32, the file's scale times the filter's factor.
        dense: the changes that are not low-rank, each with DoRA's gain on it or None.
        gains: DoRA's factor on the base minus one, (O, 1) or (1, I) float32, of each DoRA.

    What is neither a product of thin matrices nor one with a gain is in `dense`, and made anew at every change of the
    weight; what of it depends on the base asks for it then, so that nothing as large as the weight is kept.
    """

    down: Tensor
    up: Tensor
    owner: Tensor
    scale: Tensor
    dense: tuple[tuple[Term, Tensor | None], ...]
    gains: tuple[tuple[Term, Tensor], ...]

    def multiplier(self, strengths: Strengths) -> Tensor:
        """Return s (R,) in float32, all that changes from step to step."""
        return strengths.on(self.scale.device)[self.owner] * self.scale

    def squeeze(self, x: Tensor, strengths: Strengths) -> Tensor:
        """Return `(x @ down.T) * s`: (..., I) -> (T, R), the narrow waist of the branch."""
        h_TR = F.linear(x, self.down).reshape(-1, self.down.shape[0]).to(x.dtype)
        return h_TR.mul_(self.multiplier(strengths))

    def gain(self, strengths: Strengths) -> Tensor | None:
        """Return the factor on the base, (O, 1), (1, I) or (O, I) float32; None without DoRA."""
        if not self.gains:
            return None
        values = strengths.on(self.scale.device)
        excess = [values[term.index] * term.factor * gain for term, gain in self.gains]
        return 1 + sum(excess[1:], excess[0])

    def at(self, strengths: Strengths, read_base: Callable[[], Tensor]) -> Change:
        """Put the strengths in; `read_base` reads W, and is called only where a change in `dense` needs it."""
        up = (self.up * self.multiplier(strengths)).to(self.up.dtype)
        dense = tuple(self._dense_at(strengths, read_base)) if self.dense else ()
        return Change(self.gain(strengths), up, self.down, dense)

    def _dense_at(self, strengths: Strengths, read_base: Callable[[], Tensor]) -> Iterator[Tensor]:
        values = strengths.on(self.scale.device)
        needs_base = any(term.delta.needs_base for term, _ in self.dense)
        base = read_base().to(self.up.device) if needs_base else None
        for term, gain in self.dense:
            with torch.autocast(self.up.device.type, enabled=False):
                own = None if base is None else base.reshape(term.delta.shape)
                matrix = term.delta.dense(own).reshape(self.up.shape[0], self.down.shape[1])
            strength = values[term.index] * term.factor
            yield (matrix * (strength if gain is None else strength * gain)).to(self.up.dtype)


@dataclass(frozen=True, eq=False)
class Change:
    """What a stack does to one parameter at given strengths; applied to any rows of it."""

    gain: Tensor | None
    up: Tensor
    down: Tensor
    dense: tuple[Tensor, ...]

    def apply_to(self, block: Tensor, rows: slice) -> None:
        """Turn `block`, a copy of these rows of W, into the same rows of W_eff."""
        if self.gain is not None:
            block.mul_(self.gain[rows] if self.gain.shape[0] > 1 else self.gain)
        self.add_to(block, rows)

    def add_to(self, block: Tensor, rows: slice) -> None:
        """Add all that does not depend on W."""
        if self.down.shape[0]:
            block.addmm_(self.up[rows], self.down)
        for matrix in self.dense:
            block.add_(matrix[rows])


def gather(
    terms: Sequence[Term], shape: Sequence[int], device: torch.device, dtype: torch.dtype, base: Tensor | None
) -> Factors:
    """Copy the factors of all terms to `device` and lay them side by side; `base` is read only where DoRA needs it."""
    num_outputs, num_inputs = matrix_shape(shape)
    downs, ups = [torch.empty(0, num_inputs)], [torch.empty(num_outputs, 0)]
    owners: list[int] = []
    scales: list[float] = []
    dense: list[tuple[Term, Tensor | None]] = []
    gains: list[tuple[Term, Tensor]] = []
    for term in terms:
        delta, gain = term.delta.to(device), None
        if (found := _with_gain_of(delta, base, num_outputs)) is not None:
            delta, gain = found
            gains.append((term, gain - 1))
        if (pair := _low_rank(delta, num_outputs, base)) is None:
            dense.append((Term(term.index, delta, term.factor), gain))
            continue
        down, up = _with_gain(*pair, gain)
        downs.append(down)
        ups.append(up)
        owners += [term.index] * down.shape[0]
        scales += [delta.scale * term.factor] * down.shape[0]
    return Factors(
        down=torch.cat([down.to(device, dtype) for down in downs]),
        up=torch.cat([up.to(device, dtype) for up in ups], dim=1),
        owner=torch.tensor(owners, dtype=torch.int64, device=device),
        scale=torch.tensor(scales, dtype=torch.float32, device=device),
        dense=tuple(dense),
        gains=tuple(gains),
    )


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    return (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def is_thin(delta: Delta, num_outputs: int) -> bool:
    """Say whether a change of a matrix can act as a thin branch: a low-rank one, with DoRA's gain per output."""
    if isinstance(delta, Placed):
        return num_outputs == delta.shape[0] and is_thin(delta.inner, delta.inner.shape[0])
    if isinstance(delta, Dora):
        return is_thin(delta.inner, num_outputs) and not delta.on_inputs
    return isinstance(delta, (Lora, GLora)) and delta.shape[0] == num_outputs


def _low_rank(delta: Delta, num_outputs: int, base: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Return `down` and `up`; None for a change that has none. A difference of a single row is of rank one.

    A LoRA whose outputs are not the matrix's rows (of a (1, 6, D) table, stored as (6, D)) has none that fit it.
    """
    if isinstance(delta, Placed) and delta.shape[0] == num_outputs:
        own = None if base is None else base.reshape(delta.shape)[delta.rows]
        pair = _low_rank(delta.inner, delta.inner.shape[0], own)
        return None if pair is None else (pair[0], delta.spread(pair[1]))
    if isinstance(delta, Lora) and delta.shape[0] == num_outputs:
        return delta.factors()
    if isinstance(delta, GLora) and len(delta.shape) == 2 and delta.shape[0] == num_outputs and base is not None:
        return delta.factors(base.reshape(delta.shape))
    if num_outputs == 1 and not delta.needs_base and isinstance(delta, (Full, Placed)):
        whole = delta.dense()
        return whole.reshape(1, -1), whole.new_ones(1, 1)
    return None


def _with_gain_of(delta: Delta, base: Tensor | None, num_outputs: int) -> tuple[Delta, Tensor] | None:
    """Return what a DoRA multiplies, and its gain as (O, 1) or (1, I); None for what is no DoRA, or has no such gain.

    Of some rows of a parameter, a gain per output is 1 on all others; one per input has no such form, and is dense.
    """
    if isinstance(delta, Dora):
        assert base is not None
        return delta.inner, _gain_matrix(delta, base, num_outputs)
    if isinstance(delta, Placed) and isinstance(delta.inner, Dora) and is_thin(delta, num_outputs):
        assert base is not None
        inner = delta.inner
        gain = _gain_matrix(inner, base.reshape(delta.shape)[delta.rows], inner.shape[0])
        return replace(delta, inner=inner.inner), delta.spread(gain, fill=1.0)
    return None


def _with_gain(down: Tensor, up: Tensor, gain: Tensor | None) -> tuple[Tensor, Tensor]:
    """Put DoRA's gain into the half whose free axis it belongs to."""
    if gain is None:
        return down, up
    return (down, gain * up) if gain.shape[1] == 1 else (down * gain, up)


def _gain_matrix(delta: Dora, base: Tensor, num_outputs: int) -> Tensor:
    """Return DoRA's gain as (O, 1), or as (1, I) where its magnitudes belong to the inputs."""
    gain = delta.gain(base)
    if delta.shape[0] != num_outputs:
        return gain.expand(delta.shape).reshape(num_outputs, -1)
    if not delta.on_inputs:
        return gain.reshape(-1, 1)
    return gain.expand(1, *delta.shape[1:]).reshape(1, -1)
