"""The processes of a training: one, or as many as `accelerate launch` started, on one machine or several.

Each takes its share of a step's batches; gradients are averaged, so that N processes with accumulation A do what one
does with accumulation N A. Wrapping, sharding and sums are accelerate's and torch's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Ranks(Protocol):
    """This process among those that train together."""

    @property
    def num(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def device(self) -> torch.device | None:
        """The device of this process; None where nobody has said."""

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Return network and optimiser as they work together with those of the other processes."""

    def backward(self, loss: Tensor) -> None:
        """Take a loss back through its network."""

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        """Keep gradients to this process inside the block; outside, each backward pass averages them."""

    def clip(self, weights: Iterable[nn.Parameter], longest: float) -> Tensor:
        """Shorten gradients to a length, and return the length they had."""

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a number over the processes."""

    def wait(self) -> None:
        """Wait until every process is here."""


class Alone:
    """One process, without any library."""

    num, index, device = 1, 0, None

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        return network, optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()

    def clip(self, weights: Iterable[nn.Parameter], longest: float) -> Tensor:
        return nn.utils.clip_grad_norm_(weights, longest)

    def mean(self, value: Tensor) -> Tensor:
        return value

    def wait(self) -> None:
        pass


class Launched:
    """One of the processes that `accelerate launch` started: DDP, or FSDP2 where it was asked for."""

    def __init__(self) -> None:
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.num: int = self._accelerator.num_processes
        self.index: int = self._accelerator.process_index
        self.device: torch.device = self._accelerator.device

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        prepared: Any = self._accelerator.prepare(network, optimizer)
        return prepared[0], prepared[1]

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        return self._accelerator.no_sync(network)

    def clip(self, weights: Iterable[nn.Parameter], longest: float) -> Tensor:
        norm = self._accelerator.clip_grad_norm_(list(weights), longest)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def mean(self, value: Tensor) -> Tensor:
        return self._accelerator.reduce(value.detach(), reduction="mean")

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


def find_ranks() -> Ranks:
    """Return this process among its like, as the launcher's environment tells of them."""
    return Launched() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()
