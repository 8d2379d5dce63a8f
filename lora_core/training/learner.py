"""One expert in training: its network, its optimiser, and where in its data it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..experts import Expert
from .averages import Averages
from .batches import seed_of
from .network.trainee import Trainee
from .objectives.objective import Call, Material, Objective
from .optimizers import make_optimizer, make_schedule
from .ranks import Ranks
from .settings.learning import LearningSettings
from .shards import parted, whole

#: Batches by number.
GetBatch = Callable[[int], Material]
#: A call of a network, made once it is known which module is called: the trainee's own, or one wrapped for many ranks.
MakeCall = Callable[[nn.Module], Call]


@dataclass(frozen=True)
class StepResult:
    """What is known of one optimiser step."""

    loss: float
    grad_norm: float
    lr: float


class Learner:
    """One expert in training.

    Attributes:
        num_steps: optimiser steps done.
        active: whether its weights are on the compute device.
        is_whole: whether it is between two steps; not where one broke off while weights were being changed.
    """

    def __init__(
        self,
        expert: Expert,
        trainee: Trainee,
        make_call: MakeCall,
        batches: GetBatch,
        objective: Objective,
        settings: LearningSettings,
        *,
        total_steps: int,
        device: torch.device,
        dtype: torch.dtype,
        ranks: Ranks,
        bring: Callable[[], object] = lambda: None,
    ) -> None:
        """Take in everything of an expert; `bring` takes the base's weights to the compute device."""
        self.expert, self.trainee, self.settings, self.ranks = expert, trainee, settings, ranks
        self.num_steps = 0
        self.active, self.is_whole = False, True
        self._batches, self._objective = batches, objective
        self._device, self._dtype, self._bring = device, dtype, bring
        self._bring()
        if not ranks.is_sharded:
            trainee.to(device)
        self.network = ranks.join(trainee.network)
        with ranks.as_one():
            self.optimizer = make_optimizer(list(self.trainee.weights.values()), settings, is_sharded=ranks.is_sharded)
        self.call = make_call(self.network)
        self.schedule = make_schedule(self.optimizer, settings, total_steps)
        self.averages = Averages(self.trainee.weights, settings.ema) if settings.ema else None
        self.active = True

    def step(self) -> StepResult:
        """Learn from the next batches, as many as are accumulated in each process."""
        self.use()
        self.trainee.network.train()
        count, lr = self.settings.accumulation, float(self.schedule.get_last_lr()[0])
        first = self.num_steps * count * self.ranks.num + self.ranks.index
        total = torch.zeros(())
        for i in range(count):
            number = first + i * self.ranks.num
            batch = self._batches(number).to(self._device, self._dtype)
            is_last = i == count - 1
            with nullcontext() if is_last else self.ranks.apart(self.network), self._randomness(number):
                for loss in self._objective(self.call, batch):
                    (loss / count).backward()
                    total += loss.detach().cpu() / count
        weights = list(self.trainee.weights.values())
        norm = whole(nn.utils.clip_grad_norm_(weights, self.settings.max_grad_norm or float("inf")))
        self.is_whole = False
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.num_steps += 1
        if self.averages is not None:
            self.averages.update()
        self.is_whole = True
        return StepResult(self.ranks.mean(total.item()), float(norm), lr)

    @torch.no_grad()
    def loss(self, batch: Material) -> float:
        """Return the loss of a batch, without learning from it."""
        moved = batch.to(self._device, self._dtype)
        return float(sum(loss.item() for loss in self._objective(self.call, moved)))

    def use(self) -> None:
        """Bring network and optimiser to the compute device."""
        self._bring()  # other pieces of the model may have sent it away
        if not self.active:
            self._move(self._device)
            self.active = True

    def rest(self) -> None:
        """Take what learns, and what the optimiser keeps of it, off the compute device."""
        if self.active and self._device.type != "cpu":
            self._move(torch.device("cpu"))
        self.active = False

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Let the network be, inside the block, what would be written: without dropout, averaged where it is."""
        self.use()
        self.trainee.network.eval()
        with nullcontext() if self.averages is None else self.averages.applied():
            yield
        self.ranks.settle(self.network)

    def state(self) -> dict[str, Any]:
        """Return all that `load_state` needs to go on bit for bit; all processes take part, the main one has it."""
        state = {
            "num_steps": self.num_steps,
            "weights": dict(self.trainee.weights),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averages": None if self.averages is None else self.averages.state(),
        }
        return dict(whole(state, keep=self.ranks.is_main))

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any], *, with_optimizer: bool = True) -> None:
        """Go on from a state; without what its optimiser knew, where that was another one."""
        self.use()
        for name, weight in self.trainee.weights.items():
            weight.copy_(parted(state["weights"][name], weight))
        if with_optimizer:
            self.optimizer.load_state_dict(self._parts_of(state["optimizer"]))
        self.schedule.load_state_dict(state["schedule"])
        self.num_steps = state["num_steps"]
        if self.averages is not None:
            self.averages.load_state(state["averages"])

    def _parts_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return an optimiser's state with parts in the place of what is as large as a weight."""
        weights = list(self.trainee.weights.values())
        rows = {
            number: {
                name: parted(value, weights[number])
                if isinstance(value, Tensor) and value.shape == weights[number].shape
                else value
                for name, value in row.items()
            }
            for number, row in state["state"].items()
        }
        return {**state, "state": rows}

    def _randomness(self, number: int) -> AbstractContextManager[None]:
        """Let dropout be a function of the batch's number, and leave the process's own randomness alone."""
        return _seeded(seed_of(self.settings.seed, self.expert, "dropout", number), self._device)

    def _move(self, device: torch.device) -> None:
        self.trainee.to(device, self.ranks.may_move)
        if not all(map(self.ranks.may_move, self.trainee.weights.values())):  # what goes with them stays with them
            return
        for row in self.optimizer.state.values():
            for name, value in row.items():
                if isinstance(value, Tensor) and value.device != device and value.ndim:
                    row[name] = value.to(device)
        if self.averages is not None:
            self.averages.move(device)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
