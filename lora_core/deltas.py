"""The mathematics of one weight change: LoRA, LoHa, LoKr, DoRA and full differences.

Letters: R rank, O output channels, I input channels, K the remaining (convolution kernel) axes of a weight.
Every delta is linear in the user's strength: the layer computes with `W + sum(strength_i * delta_i)`, each delta_i
taken against the untouched base W, so a stack does not depend on its order.
Dtype policy: factors stay in the file's dtype; every product is computed and returned in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from .errors import LoraMismatchError


@dataclass(frozen=True, eq=False)
class Delta:
    """One change of one parameter; `dense()` gives the whole of it in float32 at strength 1."""

    kind: ClassVar[str] = "delta"
    #: True when `dense` and the fused layer need the base weight's values (DoRA).
    needs_base: ClassVar[bool] = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameter this delta changes."""
        raise NotImplementedError

    @property
    def rank(self) -> int:
        """The rank of the factors; 0 for a change that is stored in full."""
        return 0

    @property
    def scale(self) -> float:
        """What the file itself multiplies its product by (alpha / rank and its relatives)."""
        return 1.0

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that carry this delta, for counting bytes, moving and checking."""
        raise NotImplementedError

    def dense(self, base: Tensor | None = None) -> Tensor:
        """Compute the float32 change of the parameter at strength 1; `base` is read only where `needs_base`."""
        raise NotImplementedError

    def norm(self, base: Tensor | None = None) -> float:
        """Compute the Frobenius norm of `dense(base)`."""
        return float(self.dense(base).norm())

    def to(self, device: torch.device | torch.dtype | str) -> Delta:
        """Return the same delta with its tensors on a device, or in a dtype."""
        raise NotImplementedError

    @property
    def num_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors())


@dataclass(frozen=True, eq=False)
class Lora(Delta):
    """Low-rank change `scale * up @ down` (Hu et al. 2021, arXiv 2106.09685, section 4.1).

    Attributes:
        down: (R, I) or (R, I, *K) for convolutions.
        up: (O, R) or (O, R, 1, ...).
        mid: (R, R, *K), the kernel of a CP-decomposed convolution whose `down` is then (R, I, 1, ...); or None.
        scale: alpha / R, or alpha / sqrt(R) for rsLoRA; 1 when the file says nothing.
    """

    down: Tensor
    up: Tensor
    mid: Tensor | None = None
    scale: float = 1.0
    kind: ClassVar[str] = "lora"

    @property
    def shape(self) -> tuple[int, ...]:
        kernel = self.down.shape[2:] if self.mid is None else self.mid.shape[2:]
        return (self.up.shape[0], self.down.shape[1], *kernel)

    @property
    def rank(self) -> int:
        return self.up.shape[1]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.down, self.up) if self.mid is None else (self.down, self.up, self.mid)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return `down` (R, I*K) and `up` (O, R), without the scale; `mid` folded into `down` in float32."""
        up = self.up.flatten(1)
        if self.mid is None:
            return self.down.flatten(1), up
        folded = torch.einsum("or...,ri->oi...", self.mid.float(), self.down.flatten(1).float())
        return folded.flatten(1), up

    def dense(self, base: Tensor | None = None) -> Tensor:
        down, up = self.factors()
        return (self.scale * (up.float() @ down.float())).reshape(self.shape)

    def norm(self, base: Tensor | None = None) -> float:
        # ||U D||_F^2 = trace((U^T U)(D D^T)): R x R instead of O x I.
        down, up = (t.double() for t in self.factors())
        square = float(((up.T @ up) * (down @ down.T)).sum())
        return abs(self.scale) * math.sqrt(max(square, 0.0))

    def to(self, device: torch.device | torch.dtype | str) -> Lora:
        return replace(self, **_moved(self, device))


@dataclass(frozen=True, eq=False)
class LoHa(Delta):
    """Hadamard product of two low-rank products (LyCORIS; Hyeon-Woo et al. 2021, arXiv 2108.06098, eq. 5).

    Attributes:
        w1a, w2a: (O, R); w1b, w2b: (R, I). With Tucker cores t1, t2 of shape (R, R, *K) the a factors are (R, O).
    """

    w1a: Tensor
    w1b: Tensor
    w2a: Tensor
    w2b: Tensor
    t1: Tensor | None = None
    t2: Tensor | None = None
    scale: float = 1.0
    #: shape of the target where it has more axes than the stored product (a convolution stored flat).
    target_shape: tuple[int, ...] | None = None
    kind: ClassVar[str] = "loha"

    @property
    def shape(self) -> tuple[int, ...]:
        if self.target_shape is not None:
            return self.target_shape
        if self.t1 is not None:
            return (self.w1a.shape[1], self.w1b.shape[1], *self.t1.shape[2:])
        return (self.w1a.shape[0], self.w1b.shape[1])

    @property
    def rank(self) -> int:
        return self.w1b.shape[0]

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(t for t in (self.w1a, self.w1b, self.w2a, self.w2b, self.t1, self.t2) if t is not None)

    def dense(self, base: Tensor | None = None) -> Tensor:
        first = _tucker(self.t1, self.w1a, self.w1b)
        second = _tucker(self.t2, self.w2a, self.w2b)
        return (self.scale * first * second).reshape(self.shape)

    def to(self, device: torch.device | torch.dtype | str) -> LoHa:
        return replace(self, **_moved(self, device))


@dataclass(frozen=True, eq=False)
class LoKr(Delta):
    """Kronecker product `scale * kron(w1, w2)` (LyCORIS; Yeh et al. 2023, arXiv 2309.14859, section 3.3).

    Attributes:
        w1: (O1, I1) in full, or None when given as w1a (O1, R) @ w1b (R, I1).
        w2: (O2, I2, *K) in full, or None when given as w2a (O2, R) @ w2b (R, I2*K), or with Tucker core t2 (R, R, *K)
            and then w2a (R, O2), w2b (R, I2).
    """

    w1: Tensor | None = None
    w1a: Tensor | None = None
    w1b: Tensor | None = None
    w2: Tensor | None = None
    w2a: Tensor | None = None
    w2b: Tensor | None = None
    t2: Tensor | None = None
    scale: float = 1.0
    #: shape of the target where it has more axes than the stored product (a convolution stored flat).
    target_shape: tuple[int, ...] | None = None
    kind: ClassVar[str] = "lokr"

    @property
    def shape(self) -> tuple[int, ...]:
        if self.target_shape is not None:
            return self.target_shape
        first, second = self._first_shape(), self._second_shape()
        return (first[0] * second[0], first[1] * second[1], *second[2:])

    def _first_shape(self) -> tuple[int, ...]:
        if self.w1 is not None:
            return tuple(self.w1.shape)
        assert self.w1a is not None
        assert self.w1b is not None
        return (self.w1a.shape[0], self.w1b.shape[1])

    def _second_shape(self) -> tuple[int, ...]:
        if self.w2 is not None:
            return tuple(self.w2.shape)
        assert self.w2a is not None
        assert self.w2b is not None
        if self.t2 is not None:
            return (self.w2a.shape[1], self.w2b.shape[1], *self.t2.shape[2:])
        return (self.w2a.shape[0], self.w2b.shape[1])

    @property
    def rank(self) -> int:
        """The rank of whichever factor is decomposed, the larger one's first; 0 when both are stored in full."""
        for half in (self.w2b, self.w1b):
            if half is not None:
                return half.shape[0]
        return 0

    def tensors(self) -> tuple[Tensor, ...]:
        parts = (self.w1, self.w1a, self.w1b, self.w2, self.w2a, self.w2b, self.t2)
        return tuple(t for t in parts if t is not None)

    def dense(self, base: Tensor | None = None) -> Tensor:
        first = self.w1.float() if self.w1 is not None else _tucker(None, self.w1a, self.w1b)
        second = self.w2.float() if self.w2 is not None else _tucker(self.t2, self.w2a, self.w2b)
        first = first.reshape(*first.shape, *(1,) * (second.ndim - first.ndim))
        # kron takes views of what it is given, which a contraction's result does not allow.
        return (self.scale * torch.kron(first, second.contiguous())).reshape(self.shape)

    def to(self, device: torch.device | torch.dtype | str) -> LoKr:
        return replace(self, **_moved(self, device))


@dataclass(frozen=True, eq=False)
class Full(Delta):
    """A difference stored in full (`.diff`, `.diff_b`, `.diff_m`): any parameter, any shape."""

    diff: Tensor
    kind: ClassVar[str] = "full"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.diff.shape)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.diff,)

    def dense(self, base: Tensor | None = None) -> Tensor:
        return self.diff.float()

    def to(self, device: torch.device | torch.dtype | str) -> Full:
        return Full(self.diff.to(device))


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
        changed = base.float().reshape(self.shape) + self.inner.dense()
        axis = 1 if self.on_inputs else 0
        rows = changed.transpose(0, axis).flatten(1)
        shape = [1] * len(self.shape)
        shape[axis] = self.shape[axis]
        norm = rows.norm(dim=1).clamp_min(torch.finfo(torch.float32).eps)
        return (self.magnitude.float().flatten() / norm).reshape(shape)

    def dense(self, base: Tensor | None = None) -> Tensor:
        if base is None:
            raise LoraMismatchError("DoRA", "its change depends on the base weight", remedy="Pass the base weight")
        weight = base.float().reshape(self.shape)
        return self.gain(base) * (weight + self.inner.dense()) - weight

    def to(self, device: torch.device | torch.dtype | str) -> Dora:
        return Dora(self.inner.to(device), self.magnitude.to(device))


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Say whether a change of `shape` is one of a parameter of shape `wanted`, stored as it is, flat or without ones.

    Flat: as (O, I*K) for a convolution's (O, I, *K). Without ones: as (6, D) for a table of (1, 6, D).
    """
    flat = tuple(shape[:1]) == tuple(wanted[:1]) and math.prod(shape) == math.prod(wanted)
    return flat or _without_ones(shape) == _without_ones(wanted)


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _moved(delta: Delta, device: torch.device | torch.dtype | str) -> dict[str, Any]:
    """Return field -> tensor on `device`, for every field that holds one."""
    values = ((field.name, getattr(delta, field.name)) for field in fields(delta))
    return {name: value.to(device) for name, value in values if isinstance(value, Tensor)}


def _tucker(core: Tensor | None, a: Tensor | None, b: Tensor | None) -> Tensor:
    """Multiply `a @ b`, or contract both into a convolution core: (R, R, *K), (R, O), (R, I) -> (O, I, *K)."""
    assert a is not None
    assert b is not None
    if core is None:
        return a.float() @ b.float().flatten(1) if b.ndim > 2 else a.float() @ b.float()
    return torch.einsum("pr...,po,ri->oi...", core.float(), a.float(), b.float())
