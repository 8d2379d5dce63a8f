"""The processes that train together: alone, each with all weights (DDP), or each with a part of them (FSDP2).

Who launches them says how many there are and how they work together; `accelerate launch` and `torchrun` do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import TrainingError

#: How long processes wait for each other: clips may be prepared for hours, and a dead process is its launcher's affair.
_PATIENCE = timedelta(days=2)
#: Where launchers say how many processes there are.
_COUNTS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
#: What a launcher may ask for, the values that are right here, and what to do about another.
_RIGHT: dict[str, tuple[tuple[str, ...], str]] = {
    "ACCELERATE_USE_DEEPSPEED": (("false",), "Launch with --use_fsdp --fsdp_version 2"),
    "ACCELERATE_USE_MEGATRON_LM": (("false",), "Launch with --use_fsdp --fsdp_version 2"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (("1",), "Set accumulation of the training"),
    "ACCELERATE_DYNAMO_BACKEND": (("no",), "Set compile of the training"),
    "ACCELERATE_MIXED_PRECISION": (("no", "bf16"), "Set dtype of the training"),
}
_RIGHT_SHARDED: dict[str, tuple[tuple[str, ...], str]] = {
    "FSDP_VERSION": (("2",), "Launch with --fsdp_version 2, with accelerate 1.6 or newer"),
    "FSDP_OFFLOAD_PARAMS": (("false",), "Launch without; more processes need less memory each"),
    "FSDP_ACTIVATION_CHECKPOINTING": (("false",), "Set checkpointing of the training"),
}


class FailedElsewhere(TrainingError):
    """What ends this process is another one's error, which that one tells."""


class Ranks(Protocol):
    """This process among those that train together.

    Attributes:
        num: how many there are.
        index: the place of this one; 0 is the main one, which alone writes and speaks.
        device: of this process; None where nobody has said.
        is_sharded: whether each process has only a part of the weights.
    """

    @property
    def num(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def device(self) -> torch.device | None: ...
    @property
    def is_main(self) -> bool: ...
    @property
    def is_sharded(self) -> bool: ...

    def join(self, network: nn.Module) -> nn.Module:
        """Return what is called to train a network; its gradients are then the mean over the processes."""

    def may_move(self, tensor: Tensor) -> bool:
        """Say whether a tensor of a network in training may leave the device and come back."""

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        """Let gradients be added up inside the block without taking the mean, where that saves time."""

    def settle(self, network: nn.Module) -> None:
        """Let go of what a network without a backward pass has gathered, which would be out of date in the next."""

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes."""

    def any(self, flag: bool) -> bool:
        """Say whether something is so in any process."""

    def as_one(self) -> AbstractContextManager[None]:
        """Leave the block when every process is through it; an error in one is the end of it in all."""

    def in_touch(self) -> AbstractContextManager[None]:
        """Say in plain words, where the block ends by it, that others are not there any more."""

    def leave(self) -> None:
        """Part from the others at the end."""


class Alone:
    """One process, without any library."""

    num, index, device = 1, 0, None
    is_main, is_sharded = True, False

    def join(self, network: nn.Module) -> nn.Module:
        return network

    def may_move(self, tensor: Tensor) -> bool:
        return True

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()

    def settle(self, network: nn.Module) -> None:
        pass

    def mean(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def as_one(self) -> AbstractContextManager[None]:
        return nullcontext()

    def in_touch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def leave(self) -> None:
        pass


class Replicated:
    """One of several processes, each with all weights, whose gradients are averaged: torch's DDP."""

    is_sharded = False

    def __init__(self) -> None:
        from accelerate import PartialState

        self._state = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
        self.num: int = self._state.num_processes
        self.index: int = self._state.process_index
        self.device: torch.device = self._state.device
        self.is_main = self.index == 0

    def join(self, network: nn.Module) -> nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        frozen = [name for name, weight in network.named_parameters() if not weight.requires_grad]
        constant = [name for name, _ in network.named_buffers()]
        # What does not learn is the same in all processes, and the opened model's own: nothing is sent and written.
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, frozen + constant)
        return DistributedDataParallel(network, gradient_as_bucket_view=True)

    def may_move(self, tensor: Tensor) -> bool:
        return not tensor.requires_grad  # torch forgets the hooks that average a parameter's gradient when it moves

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        apart: AbstractContextManager[None] = network.no_sync()  # type: ignore[operator]  # of DDP's
        return apart

    def settle(self, network: nn.Module) -> None:
        pass

    def mean(self, value: float) -> float:
        return self._reduced(value, torch.distributed.ReduceOp.SUM) / self.num

    def any(self, flag: bool) -> bool:
        return self._reduced(float(flag), torch.distributed.ReduceOp.MAX) > 0

    @contextmanager
    def as_one(self) -> Iterator[None]:
        error = None
        try:
            yield
        except Exception as caught:
            error = caught
        failed: list[Any] = [None] * self.num
        torch.distributed.all_gather_object(failed, error is not None)
        if not any(failed):
            return
        first = failed.index(True)
        if error is not None and first == self.index:
            raise error
        raise FailedElsewhere(f"process {self.index}", f"process {first} has failed") from error

    @contextmanager
    def in_touch(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # gloo has no class for its errors
            if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
                raise
            remedy = "Look for the error of another process, which came first"
            raise TrainingError(f"process {self.index}", "has lost the others", remedy=remedy) from error

    def leave(self) -> None:
        self._state.destroy_process_group()

    def _reduced(self, value: float, how: Any) -> float:
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor, how)
        return float(tensor)


class Sharded(Replicated):
    """One of several processes, each with a part of every weight, which meet block by block: torch's FSDP2."""

    is_sharded = True

    def join(self, network: nn.Module) -> nn.Module:
        from .network.sharding import shard

        shard(network, self.device, self.num)
        return network

    def may_move(self, tensor: Tensor) -> bool:
        return False

    def apart(self, network: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()  # gradients that are not shared out at once would be whole in every process

    def settle(self, network: nn.Module) -> None:
        from torch.distributed.fsdp import FSDPModule

        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def find_ranks() -> Ranks:
    """Return this process among its like, as the launcher's environment tells of them."""
    if not any(os.environ.get(name, "1") not in ("", "1") for name in _COUNTS):
        return Alone()
    is_sharded = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    for name, (right, remedy) in (_RIGHT | (_RIGHT_SHARDED if is_sharded else {})).items():
        value = os.environ.get(name, right[0])
        if value.lower() not in right and os.environ.get("RANK", "0") != "0":
            raise FailedElsewhere("launcher", f"{name} is {value!r}")
        if value.lower() not in right:
            raise TrainingError("launcher", f"{name} is {value!r}", expected=" or ".join(right), remedy=remedy)
    return Sharded() if is_sharded else Replicated()
