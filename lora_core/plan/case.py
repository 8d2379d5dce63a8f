"""What the rules about a stack look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..experts import Expert
from ..families.base import ModelSpec
from ..families.family import Customs
from ..families.registry import customs_of
from ..stack.loaded import LoadedLora, LoadedStack
from .route import RoutedLora


@dataclass(frozen=True)
class Case:
    """What the rules look at: a loaded stack, and what of it acts where."""

    loaded: LoadedStack
    routed: tuple[RoutedLora, ...]

    @property
    def spec(self) -> ModelSpec:
        return self.loaded.spec

    @cached_property
    def customs(self) -> Customs:
        return customs_of(self.spec)

    @cached_property
    def speed(self) -> tuple[RoutedLora, ...]:
        return tuple(lora for lora in self.routed if lora.weights.purpose == "speed" and lora.strength)

    def on(self, expert: Expert) -> list[RoutedLora]:
        return [lora for lora in self.routed if lora.expert == expert]

    def of(self, lora: LoadedLora) -> list[RoutedLora]:
        return [routed for routed in self.routed if routed.index == lora.index]
