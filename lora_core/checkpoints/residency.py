"""Where a model's networks are: opened when first used, and on the compute device only as long as allowed.

Dtype policy: at rest tensors are as stored (memory-mapped where they can be); on the device they are in the dtype their
network states for them. Going back to rest drops the copy on the device, for no base weight is ever written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from .quiet import quietly

Offload = Literal["none", "experts", "blocks"]
OFFLOADS: tuple[Offload, ...] = ("none", "experts", "blocks")

#: How `offload="blocks"` takes a network apart: block by block, leaf by leaf, or not at all.
Grain = Literal["block_level", "leaf_level", "whole"]


@dataclass(frozen=True)
class Network:
    """A module whose tensors are at rest on the CPU.

    Attributes:
        dtypes: parameter name -> the dtype it computes in; a name not in it (a packed weight) stays as stored.
    """

    module: nn.Module
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)


class Residence:
    """The pieces of one model on one compute device; all may stay there (`none`), or only the one in use.

    Attributes:
        lock: held by the thread that computes with the pieces, for as long as they have to stay where they are.
    """

    def __init__(self, device: torch.device, offload: Offload) -> None:
        self.device = device
        self.offload = offload
        self.lock = threading.RLock()
        self._pieces: list[Piece] = []

    def add(self, load: Callable[[], Network], grain: Grain = "whole") -> Piece:
        """Take in a network that `load` will read when it is first used."""
        # On the CPU blocks would move from the CPU to the CPU, so whole networks come and go as with "experts".
        in_groups = self.offload == "blocks" and self.device.type != "cpu"
        piece = Piece(self, load, grain if in_groups else "whole")
        self._pieces.append(piece)
        return piece

    def make_room_for(self, piece: Piece) -> None:
        """Rest what may not stay beside `piece`."""
        if self.offload != "none":
            for other in self._pieces:
                if other is not piece:
                    other.rest()

    def release(self) -> None:
        """Rest every piece."""
        with self.lock:
            for piece in self._pieces:
                piece.rest()


class Piece:
    """One network of a model: opened on first use, then moved to the device and back to rest."""

    def __init__(self, residence: Residence, load: Callable[[], Network], grain: Grain) -> None:
        self.residence = residence
        self._load = load
        self._grain = grain
        self._network: Network | None = None
        self._tensors: list[_Placed] = []
        self._is_active = False

    @property
    def is_active(self) -> bool:
        """True while the network is on the compute device, or its groups move there by themselves."""
        return self._is_active

    def use(self) -> nn.Module:
        """Return the network ready to compute on the device, others rested where they have to leave."""
        with self.residence.lock:
            self.residence.make_room_for(self)
            network = self._open()
            if not self._is_active:
                try:
                    self._place(network)
                except BaseException:  # out of memory or interrupted half-way: give back what was moved
                    self.rest()
                    raise
                self._is_active = True
            return network.module

    def at_rest(self) -> Network:
        """Return the network as it is stored, without taking it onto the device."""
        with self.residence.lock:
            self.rest()
            return self._open()

    def rest(self) -> None:
        """Give the device's memory back; tensors at rest are the stored ones, bit for bit."""
        if self._grain != "whole":
            return  # group offloading brings each group back to rest right after its forward
        for placed in self._tensors:
            placed.tensor.data = placed.stored
        self._is_active = False

    def _open(self) -> Network:
        if self._network is None:
            with offline():
                network = self._load()
            network.module.requires_grad_(False).eval()
            self._tensors = _tensors(network)
            self._network = network
        return self._network

    def _place(self, network: Network) -> None:
        onto = self.residence.device if self._grain == "whole" else torch.device("cpu")
        for placed in self._tensors:
            placed.tensor.data = placed.stored.to(onto, placed.dtype)
        if self._grain != "whole":
            _offload_groups(network.module, self.residence.device, self._grain)


@dataclass(frozen=True, eq=False)
class _Placed:
    """One tensor of a module, what it is at rest, and the dtype it computes in."""

    tensor: Tensor
    stored: Tensor
    dtype: torch.dtype


def _tensors(network: Network) -> list[_Placed]:
    module, dtypes = network.module, network.dtypes
    parameters = [_Placed(p, p.data, dtypes.get(name, p.dtype)) for name, p in module.named_parameters()]
    return parameters + [_Placed(buffer, buffer.data, buffer.dtype) for buffer in module.buffers()]


def _offload_groups(module: nn.Module, device: torch.device, grain: Grain) -> None:
    with offline():
        from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        module,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type=grain,
        num_blocks_per_group=1 if grain == "block_level" else None,
        use_stream=device.type == "cuda",
        low_cpu_mem_usage=device.type == "cuda",
    )


#: Held while a model is opened: diffusers, transformers and accelerate change the process for that long, and what they
#: import in one thread is half there for another.
_OPENING = threading.RLock()

#: What keeps huggingface_hub, diffusers and transformers off the network.
_FLAGS = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub, diffusers and transformers off the network inside the block, one thread at a time."""
    with _OPENING:
        import huggingface_hub.constants as hub  # reads its flag once, at import; so the flag is set there as well

        before = {name: os.environ.get(name) for name in _FLAGS}
        hub_before = hub.HF_HUB_OFFLINE
        os.environ.update(_FLAGS)
        hub.HF_HUB_OFFLINE = True
        try:
            with quietly():
                yield
        finally:
            hub.HF_HUB_OFFLINE = hub_before
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
