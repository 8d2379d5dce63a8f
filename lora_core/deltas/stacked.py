"""The change of a parameter that a network keeps together in one, of changes that stand below each other in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .additive import Delta, Full, Lora


@dataclass(frozen=True, eq=False)
class Stacked(Delta):
    """Changes of rows that stand below each other in one parameter, each of a kind of its own (fused q, k and v).

    Attributes:
        rows: (change, how many of the parameter's rows it makes); None where they stay as they are.
    """

    rows: tuple[tuple[Delta | None, int], ...]
    kind: ClassVar[str] = "stacked"

    @property
    def needs_base(self) -> bool:  # type: ignore[override]  # that of what it stacks
        return any(delta.needs_base for delta in self._deltas())

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(size for _, size in self.rows), *next(self._deltas()).shape[1:])

    @property
    def rank(self) -> int:
        return max(delta.rank for delta in self._deltas())

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(tensor for delta in self._deltas() for tensor in delta.tensors())

    def dense(self, base: Tensor | None = None) -> Tensor:
        sizes = [size for _, size in self.rows]
        bases = [None] * len(sizes) if base is None else base.reshape(self.shape).split(sizes)
        device = next(self._deltas()).tensors()[0].device
        none = [torch.zeros(size, *self.shape[1:], device=device) for size in sizes]
        pairs = zip(self.rows, bases, none, strict=True)
        return torch.cat([zero if delta is None else delta.dense(part) for (delta, _), part, zero in pairs])

    def to(self, device: torch.device | torch.dtype | str) -> Stacked:
        return Stacked(tuple((delta and delta.to(device), size) for delta, size in self.rows))

    def _deltas(self) -> Iterator[Delta]:
        return (delta for delta, _ in self.rows if delta is not None)


def stacked(rows: Iterable[tuple[Delta | None, int]]) -> Delta:
    """Return changes of rows below each other as the plainest one change: of LoRAs a LoRA, of differences one.

    LoRAs keep their ranks beside each other, but for those with the very same `down`, which they share.
    """
    rows = tuple(rows)
    given = [delta for delta, _ in rows if delta is not None]
    if all(isinstance(delta, Full) for delta in given):
        return Full(Stacked(rows).dense())
    if not all(isinstance(delta, Lora) and delta.mid is None and len(delta.shape) == 2 for delta in given):
        return Stacked(rows)
    return _stacked_lora([(delta, size) for delta, size in rows if delta is None or isinstance(delta, Lora)])


def _stacked_lora(rows: Sequence[tuple[Lora | None, int]]) -> Lora:
    loras = [lora for lora, _ in rows if lora is not None]
    downs = list({id(lora.down): lora.down for lora in loras}.values())
    place, begin = {}, 0
    for down in downs:
        place[id(down)] = slice(begin, begin := begin + down.shape[0])
    scales = {lora.scale for lora in loras}
    scale = scales.pop() if len(scales) == 1 else None
    dtype = torch.float32 if scale is None else loras[0].up.dtype
    up = torch.zeros(sum(size for _, size in rows), begin, dtype=dtype, device=loras[0].up.device)
    for (lora, _), block in zip(rows, up.split([size for _, size in rows]), strict=True):
        if lora is not None:
            block[:, place[id(lora.down)]] = lora.up if scale is not None else lora.up.float() * lora.scale
    return Lora(downs[0] if len(downs) == 1 else torch.cat(downs), up, None, 1.0 if scale is None else scale)
