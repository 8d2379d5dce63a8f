"""Modules under LoRAs that act on some of the tokens they meet; what a layer computes otherwise stays as it is.

Letters: B batch, L tokens, I inputs, O outputs, R the ranks of the masked LoRAs together, m their masks.
A layer under masked LoRAs gives, for each token p,

    y_p  +  up @ (m_p * s * (down @ x_p))

with the branch of `fused.py`, whose ranks are multiplied by the mask of the LoRA that they belong to: (L, R) numbers,
and no further product of matrices. It stands beside whatever the rest of the stack does to the layer, and always on the
activation side: a changed weight is the same for all tokens. Changes that are no thin branch take a product with the
whole difference, one for each LoRA.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.base import logical_shape
from ..families.region_rules import Met
from .base_weights import Layer, base_form
from .factors import Term, is_thin
from .fused import FusedDelta
from .layers import product_of
from .masks import Masks
from .patched import PatchedModule
from .strengths import Weighed


class MaskedProduct(PatchedModule):
    """A linear or convolution layer that masked LoRAs change.

    Args:
        terms: parameter name -> the changes of the masked LoRAs.
        is_alone: nothing else of the stack changes the layer, so that its output is the base's own.
    """

    def __init__(
        self,
        layer: Layer,
        terms: Mapping[str, Sequence[Term]],
        masks: Masks,
        met: Met,
        *,
        is_alone: bool,
    ) -> None:
        shape = logical_shape(layer, "weight")
        thin = [term for term in terms.get("weight", ()) if len(shape) == 2 and is_thin(term.delta, shape[0])]
        wide = [term for term in terms.get("weight", ()) if not any(term is other for other in thin)]
        self._thin = {"weight": FusedDelta(shape, thin)} if thin else {}
        self._wide = _by_lora(shape, wide)
        self._bias = _by_lora(logical_shape(layer, "bias"), terms["bias"]) if "bias" in terms else {}
        super().__init__(layer, _counted(self._thin, self._wide, self._bias), masks.strengths)
        self._layer, self._masks, self._met, self._is_alone = layer, masks, met, is_alone
        self._product = product_of(layer)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute what the layer computes, and add the change on the rows of the batch that the stack acts on."""
        y: Tensor = self.original(*args, **kwargs)
        if not (self.deltas and any(delta.acts(self.strengths) for delta in self.deltas.values())):
            return y
        x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        y, half = y.contiguous(), len(x) // 2
        rows = slice(half, None) if self.strengths.rows == "second_half" else slice(None)
        self._add(x[rows].to(y.dtype), y[rows])
        return y

    @torch.no_grad()
    def _add(self, x: Tensor, y: Tensor) -> None:
        """Add all changes to y in place."""
        for delta in self._thin.values():
            if delta.acts(self.strengths):
                self._add_branch(delta, x, y)
        for index, delta in self._wide.items():
            if delta.acts(self.strengths):
                factors = delta.factors_on(y.device, y.dtype, self._read)
                change = delta.difference(factors, self.strengths, self._read)
                y.add_(self._product.multiply(self._layer, x, change) * self._masks.along(y, index, self._met))
        for index, delta in self._bias.items():
            if delta.acts(self.strengths):
                bias = self._own_bias().to(y.device, torch.float32)
                change = (delta.changed_weight(bias, self.strengths) - bias).view(_of_outputs(self._layer))
                y.add_(change * self._masks.along(y, index, self._met))

    def _add_branch(self, delta: FusedDelta, x: Tensor, y: Tensor) -> None:
        factors = delta.factors_on(y.device, y.dtype, self._read)
        mask_LN = self._masks.on_tokens(y.device, y[0, ..., 0].numel(), self._met)
        y_BLO = y.view(len(y), -1, y.shape[-1])
        if factors.gains:
            product_BLO = self._base_product(x, y).reshape(y_BLO.shape).float()
            values = self.strengths.on(y.device)
            gain_LO: Tensor | float = 0.0
            for term, gain in factors.gains:  # each (O, 1): of rows of the weight, and so of outputs
                gain_LO = gain_LO + mask_LN[:, term.index, None] * (values[term.index] * term.factor) * gain.flatten()
            y_BLO.add_((product_BLO * gain_LO).to(y.dtype))
        h_BLR = F.linear(x, factors.down).view(len(x), -1, factors.down.shape[0])
        h_BLR.mul_(mask_LN[:, factors.owner] * factors.multiplier(self.strengths))
        y_BLO.view(-1, y.shape[-1]).addmm_(h_BLR.flatten(0, 1), factors.up.T)

    def _base_product(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x W, which DoRA's gain is on, without bias."""
        if self._is_alone:
            return y if self._layer.bias is None else y - self._own_bias().to(y)
        return self._product.multiply(self._layer, x, self._read().to(y))

    def _own_bias(self) -> Tensor:
        bias = base_form(self._layer).bias(self._layer)
        assert bias is not None, "it is asked for where there is one"
        return bias.detach()

    def _read(self) -> Tensor:
        return base_form(self._layer).read(self._layer, torch.float32)


class MaskedModule(PatchedModule):
    """Any other module that meets tokens one by one: run as it is and with each masked LoRA, and mixed by its mask.

    Exact where the output is linear in the parameters, as that of a norm is in its scale.
    """

    def __init__(self, module: nn.Module, terms: Mapping[str, Sequence[Term]], masks: Masks, met: Met) -> None:
        deltas = {name: FusedDelta(logical_shape(module, name), changes) for name, changes in terms.items()}
        self._indices = sorted({term.index for changes in terms.values() for term in changes})
        self._one = Weighed(masks.strengths, [0.0] * len(masks.strengths.values))
        super().__init__(module, deltas, self._one)
        self._masks, self._met = masks, met

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the module's forward does, each token with the parameters that its masks say."""
        if self.strengths.rows == "second_half":
            x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            return self._by_halves({}, x, args, kwargs)
        self._one.weigh([0.0] * len(self._one.values))
        y = mixed = super().forward(*args, **kwargs)
        for index in self._indices:
            self._one.weigh([float(i == index) for i in range(len(self._one.values))])
            if any(delta.acts(self._one) for delta in self.deltas.values()):
                other = super().forward(*args, **kwargs)
                mixed = mixed + (other - y) * self._masks.along(y, index, self._met).to(y.dtype)
        return mixed


def _by_lora(shape: Sequence[int], terms: Sequence[Term]) -> dict[int, FusedDelta]:
    indices = sorted({term.index for term in terms})
    return {index: FusedDelta(shape, [term for term in terms if term.index == index]) for index in indices}


def _counted(*groups: Mapping[Any, FusedDelta]) -> dict[str, FusedDelta]:
    deltas: Iterable[FusedDelta] = (delta for group in groups for delta in group.values())
    return {str(number): delta for number, delta in enumerate(deltas)}


def _of_outputs(layer: Layer) -> tuple[int, ...]:
    """Return the shape in which one number for each output multiplies what a layer gives."""
    return (-1,) if isinstance(layer, nn.Linear) else (1, -1, *(1,) * (layer.weight.ndim - 2))
