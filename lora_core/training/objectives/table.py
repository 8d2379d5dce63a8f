"""The objectives by name."""

from __future__ import annotations

from collections.abc import Mapping

from ..settings.noise import ObjectiveName
from .flow import flow
from .objective import Objective

OBJECTIVES: Mapping[ObjectiveName, Objective] = {"flow": flow}
