"""The objectives by name."""

from __future__ import annotations

from collections.abc import Mapping

from ..settings.noise import ObjectiveName
from .flow import flow
from .objective import Objective
from .speed import speed

OBJECTIVES: Mapping[ObjectiveName, Objective] = {"flow": flow, "speed": speed}
