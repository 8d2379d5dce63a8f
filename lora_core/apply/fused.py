"""The changes that a whole stack of LoRAs makes to one parameter, computed as one.

Letters: T tokens, I inputs, O outputs, R the ranks of all LoRAs of the stack together, s their strengths.
Whatever its LoRAs are, a stack turns the weight W of a layer into

    W_eff = gain * W  +  (up * s) @ down  +  sum_i s_i D_i

- `(up * s) @ down` holds every low-rank change at once: their `down` lie under each other (R, I), their `up` beside
  each other (O, R), and s has one number per rank: strength * the file's scale * the target filter's factor. One LoRA
  or eight, it is one pair of thin matrices, and from step to step nothing changes but the few numbers in s.
- `gain` is what DoRA does to the base. `m (W + B A) / |W + B A| - W` is a factor on each row of W, plus a LoRA whose
  `up` carries the same factor; nothing in that factor ever moves, so it is computed once.
- `D_i` are the changes that are not low-rank: LoHa, LoKr, differences stored in full; those that turn W itself (OFT,
  BOFT) or replace it are made of W at every change. GLoRA's `W a` is a product of thin matrices, once W is known.

There are two places to put the change, equal on paper. On the *activation side* the layer's output gets a thin
branch, `y += ((x @ down.T) * s) @ up.T`. On the *weight side* W_eff is written to a scratch buffer, and the layer runs
once with that. `layers.choose_side` says which is cheaper. W itself is read, and never written, by either.

Dtype policy: the activation side computes in the dtype of the activations. The weight side multiplies in float32 and
rounds once, as a careful merge does; on an accelerator it multiplies in the weight's dtype, where the matrix units sum
in float32 anyway and float32 factors would cost ten times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LoraMismatchError
from .factors import Factors, Term, gather, is_thin, matrix_shape
from .strengths import Strengths

__all__ = ["FusedDelta", "Strengths", "Term", "product_dtype"]

ReadWeight = Callable[[], Tensor]

#: A weight whose dtype is not the product's is changed in blocks of rows of at most this many numbers (16 MiB).
_BLOCK_NUMEL = 4 << 20


def product_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype in which a weight that is wanted as `dtype` on `device` is changed."""
    return torch.promote_types(dtype, torch.float32) if device.type == "cpu" else dtype


class FusedDelta:
    """Every change that a stack makes to one parameter.

    Args:
        shape: the parameter's shape: (O, I), (O, I, *kernel), or any other where nothing is multiplied (norms, biases).
        terms: the changes, each found to fit the shape (`deltas.fits`), as it is or stored flat.
    """

    def __init__(self, shape: Sequence[int], terms: Sequence[Term]) -> None:
        self.shape = tuple(shape)
        self.terms = tuple(terms)
        self.indices = tuple(sorted({term.index for term in terms}))
        #: Whether all of it can act as one thin branch: low-rank changes, with DoRA's gain per output.
        self.is_thin = len(self.shape) == 2 and all(is_thin(term.delta, self.shape[0]) for term in terms)
        self.needs_base = any(term.delta.needs_base for term in terms)
        self._home: torch.device | None = None
        self._factors: dict[tuple[torch.device, torch.dtype], Factors] = {}

    @property
    def num_bytes(self) -> int:
        return sum(term.delta.num_bytes for term in self.terms)

    def acts(self, strengths: Strengths) -> bool:
        """Return whether any strength is other than zero; if not, the layer must run exactly as without a stack."""
        return strengths.rows != "none" and any(strengths.active[index] for index in self.indices)

    def move_to(self, device: torch.device | str) -> int:
        """Keep copies on `device` alone from now on, and return the bytes to count there.

        A device's copy is made at the first use on it. One that is needed elsewhere lasts for the call. Without a
        device to be on, the copy is kept that was used last.
        """
        self._home = torch.device(device)
        self.leave_all_but(self._home)
        return self.num_bytes

    def leave_all_but(self, device: torch.device) -> None:
        """Give up the copies held on other devices; they are made again where they are needed."""
        self._factors = {key: factors for key, factors in self._factors.items() if _is_same(key[0], device)}

    @torch.no_grad()
    def changed_weight(self, weight: Tensor, strengths: Strengths, out: Tensor | None = None) -> Tensor:
        """Return W_eff (the weight side), or `weight` itself when every strength is zero.

        Args:
            weight: W, only read.
            strengths: those of the stack.
            out: a contiguous tensor for W_eff in the dtype wanted; may be `weight` where that is the caller's own copy.
        """
        if not self.acts(strengths):
            return weight
        if out is None:
            out = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        dtype = product_dtype(out.dtype, out.device)
        change = self.factors_on(out.device, dtype, lambda: weight).at(strengths, lambda: weight)
        source, target = weight.reshape(matrix_shape(self.shape)), out.view(matrix_shape(self.shape))
        if target.dtype == dtype:
            change.apply_to(target if out is weight else target.copy_(source), slice(None))
            return out
        for rows in _row_blocks(target):
            block = source[rows].to(dtype)
            change.apply_to(block, rows)
            target[rows].copy_(block)
        return out

    def add_branch(
        self,
        x: Tensor,
        y: Tensor,
        strengths: Strengths,
        *,
        read_weight: ReadWeight | None = None,
        bias: Tensor | None = None,
        multiply: Callable[[Tensor, Tensor], Tensor] = F.linear,
    ) -> Tensor:
        """Add the change to the output of the unchanged layer, in place (the activation side).

        Args:
            x: (..., I), or what `multiply` takes.
            y: (..., O), which is `multiply(x, W) + bias`; written to and returned.
            strengths: those of the stack.
            read_weight: reads W; called only where a change needs it.
            bias: the bias in y, which DoRA's gain must spare.
            multiply: the layer's product with a weight of `shape`, where that is not a linear layer's.
        """
        if not self.acts(strengths):
            return y
        factors = self.factors_on(y.device, y.dtype, read_weight)
        x, y = x.to(y.dtype), y.contiguous()
        if len(self.shape) != 2:
            return y.add_(multiply(x, self.difference(factors, strengths, read_weight)))
        y_TO = y.view(-1, self.shape[0])
        if not self.is_thin:
            y_TO.addmm_(x.reshape(-1, self.shape[1]), self.difference(factors, strengths, read_weight).T)
            return y
        if (gain := factors.gain(strengths)) is not None:
            _scale_product(y_TO, gain.flatten(), bias)
        y_TO.addmm_(factors.squeeze(x, strengths), factors.up.T)
        return y

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, strengths: Strengths) -> Tensor:
        """Compute a whole linear layer on the activation side: x (..., I) -> (..., O).

        The branch goes first, and the base product is accumulated onto it. That costs the same, and in half precision
        the rounding in between is as small as the branch, where it would be as large as the output.
        """
        alike = x.dtype == weight.dtype and not torch.is_autocast_enabled(x.device.type)
        if not (alike and self.is_thin and self.acts(strengths)) or self.needs_base:
            y = F.linear(x, weight, bias)
            return self.add_branch(x, y, strengths, read_weight=lambda: weight, bias=bias)
        factors = self.factors_on(x.device, x.dtype, None)
        y_TO = F.linear(factors.squeeze(x, strengths), factors.up, bias)
        y_TO.addmm_(x.reshape(-1, self.shape[1]), weight.T)
        return y_TO.view(*x.shape[:-1], self.shape[0])

    @torch.no_grad()
    def difference(self, factors: Factors, strengths: Strengths, read_weight: ReadWeight | None) -> Tensor:
        """Return W_eff - W, all of it, in the dtype of `factors`."""
        change = factors.at(strengths, lambda: _read(read_weight))
        matrix = factors.up.new_zeros(matrix_shape(self.shape))
        if change.gain is not None:
            base = _read(read_weight).to(matrix.device, torch.float32).reshape(matrix.shape)
            matrix.add_(base * (change.gain - 1))
        change.add_to(matrix, slice(None))
        return matrix.view(self.shape)

    def factors_on(self, device: torch.device, dtype: torch.dtype, read_weight: ReadWeight | None) -> Factors:
        """Return the factors on `device` in `dtype`, copied there once if that is where they are to be kept."""
        key = (device, dtype)
        if key in self._factors:
            return self._factors[key]
        self.leave_all_but(self._home or device)
        # Tensors made under inference mode could not be used outside of it later.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            base = _read(read_weight).to(device) if self.needs_base else None
            factors = gather(self.terms, self.shape, device, dtype, base)
        if self._home is None or _is_same(device, self._home):
            self._factors[key] = factors
        return factors


def _is_same(device: torch.device, other: torch.device) -> bool:
    """Say whether two devices are one; "cuda" without a number is any of them."""
    return device.type == other.type and (None in (device.index, other.index) or device.index == other.index)


def _scale_product(y_TO: Tensor, gain_O: Tensor, bias_O: Tensor | None) -> None:
    """Multiply the product within `y = product + bias`, in place."""
    y_TO.mul_(gain_O)
    if bias_O is not None:
        y_TO.add_(bias_O * (1 - gain_O))


def _read(read_weight: ReadWeight | None) -> Tensor:
    if read_weight is None:
        raise LoraMismatchError("LoRA", "its change depends on the base weight", remedy="Pass the base weight")
    return read_weight().detach()


def _row_blocks(matrix: Tensor) -> list[slice]:
    step = max(1, _BLOCK_NUMEL // max(1, matrix.shape[1]))
    return [slice(start, start + step) for start in range(0, matrix.shape[0], step)]
