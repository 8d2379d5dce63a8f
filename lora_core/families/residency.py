"""Where a model's networks are: opened when first used, and on the compute device only as long as allowed.

Dtype policy: at rest tensors are as stored (memory-mapped where they can be); on the device they are in the dtype their
network states for them. Going back to rest drops the copy on the device, for no base weight is ever written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from .offline import offline

Offload = Literal["none", "experts", "blocks"]
OFFLOADS: tuple[Offload, ...] = ("none", "experts", "blocks")


@dataclass(frozen=True)
class Network:
    """Hold a module whose tensors are at rest on the CPU.

    Attributes:
        dtypes: parameter name -> the dtype it computes in; a name not in it (a packed weight) stays as stored.
    """

    module: nn.Module
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)


class Piece:
    """One network of a model, opened on first use; `activate` and `rest` move its tensors."""

    def __init__(self, load: Callable[[], Network], device: torch.device, *, by_leaf: bool | None = None) -> None:
        """Take how to load the network; `by_leaf` asks for group offloading, by leaf or by block, None for none."""
        self.device = device
        self._load = load
        self.device = device
        self._by_leaf = by_leaf
        self._network: Network | None = None
        self._resting: list[tuple[Tensor, Tensor, torch.dtype]] = []
        self._active = False

    @property
    def is_open(self) -> bool:
        """True once the network has been read."""
        return self._network is not None

    @property
    def is_active(self) -> bool:
        """True while the network is on the compute device (or its groups move there by themselves)."""
        return self._active

    def activate(self) -> nn.Module:
        """Return the network ready to compute on the device."""
        if self._network is None:
            with offline():
                self._network = self._load()
            self._network.module.requires_grad_(False).eval()
        if not self._active:
            self._place(self._network)
            self._active = True
        return self._network.module

    def rest(self) -> None:
        """Give the device's memory back; tensors at rest are the stored ones, bit for bit."""
        if self._by_leaf is not None:
            return  # group offloading brings each group back to rest right after its forward
        for tensor, stored, _ in self._resting:
            tensor.data = stored
        self._active = False

    def _place(self, network: Network) -> None:
        if not self._resting:
            self._resting = _resting_tensors(network)
        onto = self.device if self._by_leaf is None else torch.device("cpu")
        for tensor, stored, dtype in self._resting:
            tensor.data = stored.to(onto, dtype)
        if self._by_leaf is not None:
            _offload_groups(network.module, self.device, by_leaf=self._by_leaf)


class Residence:
    """The pieces of one model; all may stay on the device (`none`), or only the one in use."""

    def __init__(self, offload: Offload) -> None:
        self.offload = offload
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> Piece:
        """Take a piece in."""
        self._pieces.append(piece)
        return piece

    def use(self, piece: Piece) -> nn.Module:
        """Return the network of `piece` on the compute device, after resting the others where they have to leave."""
        if self.offload != "none":
            for other in self._pieces:
                if other is not piece:
                    other.rest()
        return piece.activate()

    def release(self) -> None:
        """Rest every piece."""
        for piece in self._pieces:
            piece.rest()


def _resting_tensors(network: Network) -> list[tuple[Tensor, Tensor, torch.dtype]]:
    """Return (the module's tensor, what it is at rest, the dtype it computes in) for each tensor once."""
    found = [
        (parameter, parameter.data, network.dtypes.get(name, parameter.dtype))
        for name, parameter in network.module.named_parameters()
    ]
    return found + [(buffer, buffer.data, buffer.dtype) for buffer in network.module.buffers()]


def _offload_groups(module: nn.Module, device: torch.device, *, by_leaf: bool) -> None:
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        module,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="leaf_level" if by_leaf else "block_level",
        num_blocks_per_group=None if by_leaf else 1,
        use_stream=device.type == "cuda",
        low_cpu_mem_usage=device.type == "cuda",
    )
