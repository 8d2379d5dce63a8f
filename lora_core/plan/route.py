"""The route: which LoRAs of a stack act on which expert of a model, with which deltas and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..deltas import Delta
from ..experts import Expert
from ..files.weights import LoraWeights
from ..stack.region import Region
from ..stack.schedule import StrengthSchedule
from ..stack.time_curve import TimeCurve
from .advice import Advice

#: Noise levels come back from a host in float32; within this they are the plan's own.
_SIGMA_TOLERANCE = 1e-5


@dataclass(frozen=True)
class RoutedLora:
    """One LoRA on one expert.

    Attributes:
        index: the entry's place in the stack.
        expert: the expert it acts on.
        made_for: the expert whose half of the entry this is; another one only on a single-expert model.
        weights: the file it comes from.
        deltas: target -> delta, of the targets that this model has and the filter lets through.
        factors: target -> the filter's factor, for the same targets.
        region, over_time: where in the picture and when in the clip it acts; everywhere and always if None.
        without_place: of one that acts in a part, the targets that have no place in the clip; their changes act
            everywhere, at the mean of its mask.
    """

    name: str
    index: int
    expert: Expert
    strength: float
    deltas: Mapping[str, Delta] = field(repr=False, compare=False)
    factors: Mapping[str, float] = field(repr=False, compare=False)
    weights: LoraWeights = field(repr=False, compare=False)
    made_for: Expert
    schedule: StrengthSchedule | None = None
    region: Region | None = None
    over_time: TimeCurve | None = None
    without_place: tuple[str, ...] = ()

    @property
    def is_masked(self) -> bool:
        """Whether it acts on a part of the clip alone: of its picture, or of its time."""
        return self.region is not None or self.over_time is not None

    def strengths(self, sigmas: Sequence[float]) -> tuple[float, ...]:
        """Return the strength at each step of a run with these N + 1 sigmas."""
        at = self.strength_at(sigmas)
        return tuple(at(sigma) for sigma in sigmas[:-1])

    def strength_at(self, sigmas: Sequence[float]) -> Callable[[float], float]:
        """Return the strength as a function of the noise level, in a run with these N + 1 sigmas."""
        if self.schedule is None:
            return lambda sigma: self.strength
        factor = self.schedule.over(sigmas)
        return lambda sigma: self.strength * factor(sigma)

    @property
    def peak(self) -> float:
        """The strength furthest from zero that its schedule can reach."""
        return self.strength * (1.0 if self.schedule is None else self.schedule.peak)


@dataclass(frozen=True)
class Route:
    """What acts on each expert, in the stack's order; a single-expert model has `low_noise` alone."""

    high_noise: tuple[RoutedLora, ...] = ()
    low_noise: tuple[RoutedLora, ...] = ()
    advice: tuple[Advice, ...] = ()

    def for_expert(self, expert: Expert) -> tuple[RoutedLora, ...]:
        return self.high_noise if expert == "high_noise" else self.low_noise

    @property
    def all(self) -> tuple[RoutedLora, ...]:
        return self.high_noise + self.low_noise


def strengths_at(loras: Sequence[RoutedLora], sigmas: Sequence[float]) -> Callable[[float], tuple[float, ...]]:
    """Return the strengths of these LoRAs as a function of the noise level, in a run with these N + 1 sigmas.

    A level that is one of the run's but for float32's rounding counts as that one, so that keyframes on it are met.
    """
    strengths = [lora.strength_at(sigmas) for lora in loras]

    def at(sigma: float) -> tuple[float, ...]:
        nearest = min(sigmas, key=lambda planned: abs(planned - sigma))
        level = nearest if abs(nearest - sigma) < _SIGMA_TOLERANCE else sigma
        return tuple(strength(level) for strength in strengths)

    return at
