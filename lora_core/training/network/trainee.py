"""A network in training: what of it learns, and the change it has learnt.

The network shares the base's tensors with the opened model and writes to none of them; what is learnt has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ...deltas import Delta
from ..settings.adapter import AdapterSettings

#: peft's name for the adapter that is trained.
ADAPTER = "trained"


@dataclass(frozen=True, eq=False)
class Trainee:
    """A network with parameters that learn.

    Attributes:
        network: called as the base network is.
        weights: name -> the parameters that learn, float32.
    """

    network: nn.Module
    weights: Mapping[str, nn.Parameter]
    settings: AdapterSettings

    def deltas(self) -> dict[str, Delta]:
        """Return target -> the change that the adapter stands for; the tensors are copies."""
        raise NotImplementedError


def make_trainee(network: nn.Module, settings: AdapterSettings, *, seed: int = 0) -> Trainee:
    """Return a network that learns, beside one of an opened model, which stays as it is."""
    raise NotImplementedError
