"""The memory that a training will take, by component, before any weight of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ...experts import Expert
from ...families.opened import OpenedModel
from ..assembly import turns_of
from ..config import TrainConfig
from .load import Load
from .optimizer_bytes import STATE_BYTES
from .rehearsal import Usage, rehearse


@dataclass(frozen=True)
class Part:
    """What one component takes, in bytes.

    Attributes:
        device: of a compute device that has memory of its own.
        system: of the system's memory.
        mapped: of `system`, weights that are read from their file whenever they are wanted; the system may drop them.
    """

    device: int = 0
    system: int = 0
    mapped: int = 0


@dataclass(frozen=True)
class Prediction:
    """The memory of a training at its peak, on top of what the process takes already.

    Attributes:
        parts: component -> what it takes; where two never are at once, only the larger is among them.
    """

    parts: Mapping[str, Part]

    @property
    def device(self) -> int:
        return sum(part.device for part in self.parts.values())

    @property
    def system(self) -> int:
        return sum(part.system for part in self.parts.values())

    @property
    def allocated(self) -> int:
        """The bytes of both that are allocated; weights mapped from files are not."""
        return self.device + self.system - sum(part.mapped for part in self.parts.values())


def predicted(config: TrainConfig, model: OpenedModel, load: Load) -> Prediction:
    """Predict the memory of a training, of which only the headers of the model's files have been read.

    Not in it: the previews' and encoders' networks, which come when the step's activations have gone; kernels'
    workspaces and the allocator's fragments, for which a margin is kept (`machine.py`).
    """
    experts = turns_of(config.learning, model.spec).experts
    on_gpu = model.device.type != "cpu"
    usage = rehearse(model.at_rest(experts[0]), model.spec, config, load, model.dtype, on_gpu)
    rows = _Rows(config, model, load, usage, len(experts))
    return Prediction(rows.on_device() if on_gpu else rows.on_cpu(_mapped(config, model, experts[0])))


@dataclass(frozen=True)
class _Rows:
    """The components of a training on a device of its own, or on the CPU."""

    config: TrainConfig
    model: OpenedModel
    load: Load
    usage: Usage
    num_experts: int

    def on_device(self) -> dict[str, Part]:
        u, resting = self.usage, self.num_experts - 1
        offloaded = u.packed if self.config.adapter.offload else 0
        own = u.frozen - offloaded if not self.config.adapter.is_lent else 0
        kept = self._state() + self._average()
        return {
            "frozen weights": Part(u.frozen - offloaded, resting * own + self.num_experts * offloaded),
            "learning weights": Part(u.learning, resting * u.learning),
            "gradients": Part(u.learning),
            "optimiser": Part(self._state(), resting * self._state()),
            "average": Part(self._average(), resting * self._average()),
            "activations, workspace": Part(self._workspace(all_at_once=True)),
            "a checkpoint's copy": Part(system=u.learning + kept),
            "clips": Part(system=self.load.kept_bytes),
        }

    def on_cpu(self, mapped: int) -> dict[str, Part]:
        u, n = self.usage, self.num_experts
        owners = n if not self.config.adapter.is_lent or self.model.offload == "none" else 1
        return {
            "frozen weights": Part(system=owners * u.frozen, mapped=owners * mapped),
            "learning weights": Part(system=n * u.learning),
            "gradients": Part(system=u.learning),
            "optimiser": Part(system=n * self._state()),
            "average": Part(system=n * self._average()),
            "activations, workspace": Part(system=self._workspace(all_at_once=False)),
            "clips": Part(system=self.load.kept_bytes),
        }

    def _state(self) -> int:
        state_bytes = STATE_BYTES[self.config.learning.optimizer]
        return sum(count * state_bytes(shape) for shape, count in self.usage.shapes.items())

    def _average(self) -> int:
        return self.usage.learning if self.config.learning.ema else 0

    def _workspace(self, *, all_at_once: bool) -> int:
        """Return the most that lies beside the rest: a step's activations, or what making and optimising take.

        On a GPU PyTorch's optimisers work on all weights at once, and on the CPU on one after the other.
        """
        largest = max((4 * prod(shape) for shape in self.usage.shapes), default=0)
        optimising = self.usage.learning if all_at_once else 2 * largest
        later = self.usage.learning + self._state()  # what is not there yet while the expert is made
        return max(self.usage.step, optimising, self.usage.making - later)


def _mapped(config: TrainConfig, model: OpenedModel, expert: Expert) -> int:
    """Return the bytes of an expert's weights that are used as they lie in their file."""
    if not config.adapter.is_lent:
        return 0
    network = model.at_rest(expert)
    as_stored = (
        parameter
        for name, parameter in network.module.named_parameters()
        if network.dtypes.get(name, parameter.dtype) == parameter.dtype
    )
    return sum(tensor.nbytes for tensor in (*as_stored, *network.module.buffers()))
