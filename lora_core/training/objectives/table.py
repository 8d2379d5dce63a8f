"""The objectives by name, each made for a model and a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...families.opened import OpenedModel
from ..config import TrainConfig
from ..settings.noise import ObjectiveName
from .extend_length import make_extend_length
from .flow import flow
from .objective import Objective
from .reward import make_reward
from .speed import speed

OBJECTIVES: Mapping[ObjectiveName, Callable[[TrainConfig, OpenedModel], Objective]] = {
    "flow": lambda config, model: flow,
    "speed": lambda config, model: speed,
    "reward": lambda config, model: make_reward(config.noise, model),
    "extend-length": make_extend_length,
}
