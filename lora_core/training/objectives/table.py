"""The objectives by name, each made for a model and a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...families.opened import OpenedModel
from ..settings.noise import NoiseSettings, ObjectiveName
from .flow import flow
from .objective import Objective
from .reward import make_reward
from .speed import speed

OBJECTIVES: Mapping[ObjectiveName, Callable[[NoiseSettings, OpenedModel], Objective]] = {
    "flow": lambda noise, model: flow,
    "speed": lambda noise, model: speed,
    "reward": make_reward,
}
