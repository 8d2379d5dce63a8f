"""The changes that depend on the weight they change: DoRA, GLoRA, OFT, BOFT and replacements.

Letters: R rank, O output channels, I input channels, K the remaining (convolution kernel) axes of a weight, N blocks of
B outputs each.
Each is a way from the base W to another weight, and its delta is that weight minus W: at strength s the weight moves s
of the way there. Where ComfyUI gives a strength other than 1 another meaning (it takes the square of OFT's, bends the
way of BOFT too, and sets a replacement whole at any strength), it agrees with this at strength 1.
Dtype policy: products in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import LoraMismatchError
from .additive import Delta, moved


@dataclass(frozen=True, eq=False)
class Dora(Delta):
    """Weight-decomposed change: `m * (W + inner) / ||W + inner|| - W` (Liu et al. 2024, arXiv 2402.09353, eq. 5).

    The norm is that of the changed weight, as PEFT and LyCORIS train it (ComfyUI divides by the base's on the output
    axis). At strength s the weight moves s of the way from W to the decomposed weight.

    Attributes:
        inner: the low-rank change inside.
        magnitude: m, shaped (O,) or (O, 1, ...) (norm over the inputs of each output) or (1, I, ...) (norm over the
            outputs of each input, LyCORIS's other convention).
    """

    inner: Delta
    magnitude: Tensor
    kind: ClassVar[str] = "dora"
    needs_base: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def rank(self) -> int:
        return self.inner.rank

    @property
    def scale(self) -> float:
        return self.inner.scale

    @property
    def on_inputs(self) -> bool:
        """True when the magnitude has one value per input channel instead of one per output channel."""
        size = tuple(self.magnitude.shape)
        return len(size) > 1 and size[0] == 1 and size[1] == self.shape[1] and self.shape[0] != 1

    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.inner.tensors(), self.magnitude)

    def gain(self, base: Tensor) -> Tensor:
        """Compute m / ||W + inner|| in float32, shaped to multiply a weight of `self.shape`."""
        weight = base.float().reshape(self.shape)
        changed = weight + self.inner.dense(weight)
        axis = 1 if self.on_inputs else 0
        rows = changed.transpose(0, axis).flatten(1)
        shape = [1] * len(self.shape)
        shape[axis] = self.shape[axis]
        norm = rows.norm(dim=1).clamp_min(torch.finfo(torch.float32).eps)
        return (self.magnitude.float().flatten() / norm).reshape(shape)

    def dense(self, base: Tensor | None = None) -> Tensor:
        weight = given(base, self).reshape(self.shape)
        return self.gain(weight) * (weight + self.inner.dense(weight)) - weight

    def to(self, device: torch.device | torch.dtype | str) -> Dora:
        return Dora(self.inner.to(device), self.magnitude.to(device))


@dataclass(frozen=True, eq=False)
class GLora(Delta):
    """Generalised change `scale * (W @ a + b)`, both factors of low rank (Chavan et al. 2023, arXiv 2306.07967, eq. 9).

    Of the paper's supports, those that act on a weight (LyCORIS `glora`): `a` mixes its inputs, `b` is a LoRA.

    Attributes:
        a1: (I, R), a2: (R, I): `a` is their product; on a convolution's weight it acts on its input channels.
        b1: (O, R), b2: (R, I) or (R, I, *K): `b` is theirs.
    """

    a1: Tensor
    a2: Tensor
    b1: Tensor
    b2: Tensor
    scale: float = 1.0
    #: shape of the target where it has more axes than the stored product (a convolution stored flat).
    target_shape: tuple[int, ...] | None = None
    kind: ClassVar[str] = "glora"
    needs_base: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target_shape or (self.b1.shape[0], *self.b2.shape[1:])

    @property
    def rank(self) -> int:
        return self.b1.shape[1]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.a1, self.a2, self.b1, self.b2)

    def factors(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """Return `down` (2R, I) and `up` (O, 2R) of the change of a matrix, without the scale."""
        up = torch.cat([base.float() @ self.a1.flatten(1).float(), self.b1.flatten(1).float()], dim=1)
        return torch.cat([self.a2.flatten(1).float(), self.b2.flatten(1).float()]), up

    def dense(self, base: Tensor | None = None) -> Tensor:
        weight = given(base, self).reshape(self.shape)
        a_II = self.a1.flatten(1).float() @ self.a2.flatten(1).float()
        b = self.b1.flatten(1).float() @ self.b2.flatten(1).float()
        return self.scale * (torch.einsum("oi...,ij->oj...", weight, a_II) + b.reshape(self.shape))

    def to(self, device: torch.device | torch.dtype | str) -> GLora:
        return replace(self, **moved(self, device))


@dataclass(frozen=True, eq=False)
class Oft(Delta):
    """Orthogonal change `rescale * R^T @ W - W` (Qiu et al. 2023, arXiv 2306.07280, section 3; as LyCORIS has it).

    ComfyUI passes over `rescale`.

    Attributes:
        blocks: (N, B, B) with N * B = O; R's blocks are (1 + Q)(1 - Q)^-1, with Q = blocks - blocks^T (Cayley).
        target_shape: the shape of the weight, which blocks do not tell.
        rescale: (O, 1, ...), a gain of each output; or None.
        constraint: the largest norm that all of Q may have, and is scaled down to; 0 for any.
    """

    blocks: Tensor
    target_shape: tuple[int, ...]
    rescale: Tensor | None = None
    constraint: float = 0.0
    kind: ClassVar[str] = "oft"
    needs_base: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target_shape

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.blocks,) if self.rescale is None else (self.blocks, self.rescale)

    def dense(self, base: Tensor | None = None) -> Tensor:
        weight, turned = given(base, self).flatten(1), cayley(self.blocks, self.constraint)
        out = torch.einsum("knm,kni->kmi", turned, weight.unflatten(0, turned.shape[:2])).flatten(0, 1)
        return (rescaled(out, self.rescale) - weight).reshape(self.shape)

    def to(self, device: torch.device | torch.dtype | str) -> Oft:
        return replace(self, **moved(self, device))


@dataclass(frozen=True, eq=False)
class Boft(Delta):
    """Orthogonal change by butterfly factors, `rescale * R_m .. R_1 @ W - W` (Liu et al. 2023, arXiv 2311.06243).

    Attributes:
        blocks: (M, N, B, B) with N * B = O: M factors, each of blocks as OFT has them, on outputs in another order.
        target_shape, rescale, constraint: as in OFT.
    """

    blocks: Tensor
    target_shape: tuple[int, ...]
    rescale: Tensor | None = None
    constraint: float = 0.0
    kind: ClassVar[str] = "boft"
    needs_base: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target_shape

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.blocks,) if self.rescale is None else (self.blocks, self.rescale)

    def dense(self, base: Tensor | None = None) -> Tensor:
        weight = given(base, self).flatten(1)
        turned, size = cayley(self.blocks, self.constraint), self.blocks.shape[-1]
        out = weight
        for i, blocks in enumerate(turned):
            stride = 2**i * (size // 2)
            shuffled = out.unflatten(0, (-1, 2, stride)).transpose(1, 2).reshape(-1, size, out.shape[1])
            product = (blocks @ shuffled).flatten(0, 1)
            out = product.unflatten(0, (-1, stride, 2)).transpose(1, 2).flatten(0, 2)
        return (rescaled(out, self.rescale) - weight).reshape(self.shape)

    def to(self, device: torch.device | torch.dtype | str) -> Boft:
        return replace(self, **moved(self, device))


@dataclass(frozen=True, eq=False)
class Replacement(Delta):
    """Another value in the parameter's place (ComfyUI's `.set_weight`): `value - W`."""

    value: Tensor
    kind: ClassVar[str] = "set"
    needs_base: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.value,)

    def dense(self, base: Tensor | None = None) -> Tensor:
        return self.value.float() - given(base, self).reshape(self.shape)

    def to(self, device: torch.device | torch.dtype | str) -> Replacement:
        return Replacement(self.value.to(device))


def cayley(blocks: Tensor, constraint: float) -> Tensor:
    """Return the orthogonal (1 + Q)(1 - Q)^-1 of each of the blocks (..., B, B), Q being made antisymmetric of them."""
    q = blocks.float() - blocks.float().transpose(-1, -2)
    norm = q.norm() + 1e-8
    if constraint > 0:
        q = q * (constraint / norm).clamp_max(1.0)
    one = torch.eye(q.shape[-1], device=q.device)
    return torch.linalg.solve(one - q, one + q, left=False)


def rescaled(weight: Tensor, rescale: Tensor | None) -> Tensor:
    """Multiply each row of a matrix by its gain, if there are gains."""
    return weight if rescale is None else weight * rescale.float().reshape(-1, 1)


def given(base: Tensor | None, delta: Delta) -> Tensor:
    """Return the base weight in float32, which such a change cannot do without."""
    if base is None:
        raise LoraMismatchError(
            _NAMES.get(delta.kind, delta.kind), "its change depends on the base weight", remedy="Pass the base weight"
        )
    return base.float()


_NAMES = {"dora": "DoRA", "glora": "GLoRA", "oft": "OFT", "boft": "BOFT", "set": "a replacement"}
