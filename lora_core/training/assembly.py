"""The learners of a training, put together from a model, its clips and the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from ..errors import TrainingError
from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec
from ..families.condition import Condition
from ..families.opened import OpenedModel
from ..families.registry import family_of
from .batches import BatchSource
from .clips.cached import ClipCache
from .config import TrainConfig
from .learner import Learner
from .levels import Levels
from .network.place import Place
from .network.trainee import OWNING, Trainee, make_trainee
from .objectives.objective import Call
from .objectives.table import OBJECTIVES
from .ranks import Ranks
from .settings.learning import LearningSettings
from .settings.noise import NoiseSettings
from .turns import Turns


def chosen_experts(choice: str, spec: ModelSpec) -> tuple[Expert, ...]:
    """Return the experts that learn; a model of one has it under "low_noise", whatever is chosen."""
    if spec.num_experts == 1:
        if choice == "high":
            what = f"{spec.title} has one expert, for all noise levels"
            raise TrainingError("experts", what, remedy="Leave it out")
        return (EXPERTS[1],)
    return {"both": EXPERTS, "high": EXPERTS[:1], "low": EXPERTS[1:]}[choice]


def turns_of(learning: LearningSettings, spec: ModelSpec) -> Turns:
    """Return whose turn each step is, every expert having one."""
    turns = Turns(chosen_experts(learning.experts, spec), learning.switch_every, learning.high_share)
    for expert in turns.experts:
        if turns.count(expert, learning.steps) == 0:
            what = f"{learning.steps} steps in turns of {learning.switch_every} leave the {expert} expert none"
            raise TrainingError("steps", what, remedy="Take more steps, or a smaller switch_every")
    return turns


def levels_of(noise: NoiseSettings, spec: ModelSpec) -> Levels:
    """Return the distribution of noise levels over both experts."""
    return Levels(noise.timesteps, noise.shift or spec.default_shift, noise.timestep_scale)


def boundary_of(noise: NoiseSettings, spec: ModelSpec) -> float | None:
    """Return the level from which the high-noise expert works; None for a model of one."""
    if noise.boundary and spec.boundary is None:
        raise TrainingError("boundary", f"{spec.title} has one expert, for all noise levels", remedy="Leave it out")
    return None if spec.boundary is None else noise.boundary or spec.boundary


@dataclass(frozen=True, eq=False)
class _NetworkCall:
    """A call of a network of a family's model."""

    network: nn.Module
    spec: ModelSpec

    def __call__(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        forward = family_of(self.spec).forward
        return forward(self.network, self.spec, x, level, condition.positive, condition)


def network_call(network: nn.Module, spec: ModelSpec) -> Call:
    """Return the call of a network of a model."""
    return _NetworkCall(network, spec)


def _trainee(expert: Expert, config: TrainConfig, model: OpenedModel) -> Trainee:
    """Return an expert's trainee; one that owns all its tensors is made of the stored ones, layer by layer."""
    seed = config.learning.seed
    if config.adapter.method not in OWNING:
        return make_trainee(model.expert(expert), config.adapter, seed=seed)
    stored = model.at_rest(expert)
    place = Place(model.device, stored.dtypes)
    return make_trainee(stored.module, config.adapter, seed=seed, place=place)


def _nothing() -> None:
    """Bring nothing: networks of `qlora` and `full` own all their tensors."""


def make_learner(
    expert: Expert, config: TrainConfig, model: OpenedModel, cache: ClipCache, turns: Turns, ranks: Ranks
) -> tuple[Learner, BatchSource]:
    """Return an expert's learner at its first step, on the compute device, and where its batches come from."""
    trainee = _trainee(expert, config, model)
    is_folded = family_of(model.spec).fold_padding(trainee.network, model.spec)
    if config.learning.checkpointing:
        trainee.checkpointing(True)
    levels = levels_of(config.noise, model.spec).of(expert, boundary_of(config.noise, model.spec))
    batches = BatchSource(
        cache=cache,
        levels=levels,
        batch_size=config.learning.batch_size,
        seed=config.learning.seed,
        stream=expert,
        caption_dropout=config.noise.caption_dropout,
        max_tokens=None if is_folded else model.max_tokens,
    )
    make_call: Callable[[nn.Module], Call] = partial(network_call, spec=model.spec)
    learner = Learner(
        expert,
        trainee,
        make_call,
        batches.__getitem__,
        OBJECTIVES[config.noise.objective],
        config.learning,
        total_steps=turns.count(expert, config.learning.steps),
        device=model.device,
        dtype=model.dtype,
        ranks=ranks,
        bring=partial(model.expert, expert) if config.adapter.method == "lora" else _nothing,
    )
    return learner, batches
