"""The strengths of a stack at work, on the host to decide by and on each device to multiply with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

#: Which rows of a batch a stack acts on.
Rows = Literal["all", "second_half", "none"]


class Strengths:
    """One strength per LoRA of a stack.

    A device's copy is written in place, so that whoever holds it (a compiled graph too) sees the new values. Which
    LoRAs act at all is known on the host, without waiting for the device.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._on: dict[torch.device, Tensor] = {}
        self._rows: Rows = "all"
        self.set(values)

    @property
    def values(self) -> tuple[float, ...]:
        return self._values

    @property
    def active(self) -> tuple[bool, ...]:
        """Of each LoRA, whether its strength is other than zero."""
        return self._active

    @property
    def rows(self) -> Rows:
        """The rows of a batch that the stack acts on."""
        return self._rows

    def set(self, values: Sequence[float]) -> None:
        """Replace all strengths; no layer is visited, so it costs the same for every model."""
        self._values = tuple(values)
        self._active = tuple(value != 0 for value in self._values)
        host = torch.tensor(self._values, dtype=torch.float32)
        for tensor in self._on.values():
            tensor.copy_(host)

    @contextmanager
    def acting_on(self, rows: Rows) -> Iterator[None]:
        """Let the stack act on these rows of every batch inside the block."""
        before, self._rows = self._rows, rows
        try:
            yield
        finally:
            self._rows = before

    def on(self, device: torch.device) -> Tensor:
        """Return the strengths (number of LoRAs,) in float32 on `device`."""
        if device not in self._on:
            with torch.inference_mode(False):
                self._on[device] = torch.tensor(self._values, dtype=torch.float32, device=device)
        return self._on[device]


class Weighed(Strengths):
    """The strengths of a stack, each times a weight of its LoRA; they follow the stack's own."""

    def __init__(self, whole: Strengths, weights: Sequence[float]) -> None:
        self._whole = whole
        super().__init__(weights)

    def weigh(self, weights: Sequence[float]) -> None:
        """Replace all weights."""
        super().set(weights)

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(a * b for a, b in zip(self._whole.values, self._values, strict=True))

    @property
    def active(self) -> tuple[bool, ...]:
        return tuple(a and b for a, b in zip(self._whole.active, self._active, strict=True))

    @property
    def rows(self) -> Rows:
        return self._whole.rows

    @contextmanager
    def acting_on(self, rows: Rows) -> Iterator[None]:
        with self._whole.acting_on(rows):
            yield

    def on(self, device: torch.device) -> Tensor:
        return self._whole.on(device) * super().on(device)
