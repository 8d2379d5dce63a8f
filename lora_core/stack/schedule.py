"""A strength schedule: a factor on a LoRA's strength as a function of sigma, so that it survives another step count.

Every schedule is a list of keyframes (position, factor) between which the factor goes straight, or is held, and outside
of which it stays as it is at the nearest one. A position is a sigma, or a fraction of the steps; the latter becomes a
sigma with `over(sigmas)` once a plan has its noise levels.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

from ..checks import known, known_keys, nearest, number_in_text, number_text, shown, typed
from ..errors import PlanError, StackError
from ..wording import said
from .keyframes import Keyframe, check_length, keyframes_in, keyframes_text, pairs_in

Axis = Literal["sigma", "steps"]
Interpolation = Literal["linear", "hold"]

#: Where a ramp runs unless told otherwise. Few-step runs spend all but their last step above sigma .5 (six steps at
#: shift 5 are 1, .96, .91, .83, .71, .5), so a ramp down to sigma 0 would hardly move in them.
RAMP = (1.0, 0.5)
_WHERE = "schedule"
#: Keyframes finer than this are finer than any run is.
_MAX_KEYFRAMES, _MAX_LENGTH = 10_000, 500_000


@dataclass(frozen=True)
class StrengthSchedule:
    """A factor on an entry's strength, as a function of sigma.

    Attributes:
        keyframes: (position, factor), in the order a run passes them: sigmas descending, step fractions ascending.
        axis: what a position is: a "sigma", or a fraction of the "steps" (0 the first step, 1 the end of the last).
        interpolation: "linear" between keyframes, or "hold" the factor of the keyframe last passed.
    """

    keyframes: tuple[Keyframe, ...]
    axis: Axis = "sigma"
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        known(self.axis, get_args(Axis), f"{_WHERE} axis", StackError)
        known(self.interpolation, get_args(Interpolation), f"{_WHERE} interpolation", StackError)
        object.__setattr__(self, "keyframes", _checked(self.keyframes, self.axis))

    @classmethod
    def constant(cls, factor: float = 1.0) -> StrengthSchedule:
        """Hold one factor throughout."""
        return cls(((1.0, factor),))

    @classmethod
    def linear(
        cls, first: float, last: float, start: float | None = None, end: float | None = None, *, axis: Axis = "sigma"
    ) -> StrengthSchedule:
        """Go from `first` at position `start` straight to `last` at position `end`; all of RAMP or of the steps."""
        known(axis, get_args(Axis), f"{_WHERE} axis", StackError)
        whole = _WHOLE[axis]
        start, end = whole[0] if start is None else start, whole[1] if end is None else end
        # Keyframes are sorted, which would quietly turn a ramp given backwards the other way round.
        if (start <= end) if axis == "sigma" else (start >= end):
            if start == end:
                what = said("a ramp begins and ends at {position:g}", position=start)
                raise StackError(_WHERE, what, expected="two positions", remedy="Choose two that differ")
            order = "from a higher sigma to a lower" if axis == "sigma" else "from an earlier fraction to a later"
            raise StackError(
                _WHERE,
                said("a ramp runs from {start:g} to {end:g}", start=start, end=end),
                expected=order,
                remedy="Exchange the two",
            )
        return cls(((start, first), (end, last)), axis)

    @classmethod
    def fade_in(cls, start: float | None = None, end: float | None = None, *, axis: Axis = "sigma") -> StrengthSchedule:
        """Rise from 0 to 1 between two positions."""
        return cls.linear(0.0, 1.0, start, end, axis=axis)

    @classmethod
    def fade_out(
        cls, start: float | None = None, end: float | None = None, *, axis: Axis = "sigma"
    ) -> StrengthSchedule:
        """Fall from 1 to 0 between two positions."""
        return cls.linear(1.0, 0.0, start, end, axis=axis)

    @classmethod
    def by_steps(cls, points: Iterable[Keyframe], interpolation: Interpolation = "linear") -> StrengthSchedule:
        """Give keyframes as (fraction of the steps, factor)."""
        return cls(tuple(points), "steps", interpolation)

    def __call__(self, sigma: float) -> float:
        """Return the factor at `sigma`."""
        if self.axis == "steps":
            remedy = "Call schedule.over(plan.sigmas), which gives the schedule over sigma"
            raise PlanError(_WHERE, said("{value} counts steps and has no noise levels yet", value=self), remedy=remedy)
        return self._at(sigma)

    def over(self, sigmas: Sequence[float]) -> StrengthSchedule:
        """Return the same schedule over sigma, step fractions placed on a plan's N + 1 sigmas.

        Exact, not sampled: a fraction is piecewise linear in sigma with knots at the plan's own sigmas.
        """
        if self.axis == "sigma":
            return self
        num_steps = len(sigmas) - 1
        own = [position for position, _ in self.keyframes]
        fractions = {*own, *(i / num_steps for i in range(num_steps + 1))} if self.interpolation == "linear" else own
        levels = {_sigma_at(fraction, sigmas): self._at(fraction) for fraction in sorted(fractions)}
        return StrengthSchedule(tuple(sorted(levels.items(), reverse=True)), "sigma", self.interpolation)

    def complement(self) -> StrengthSchedule:
        """Return 1 minus this schedule, the other side of a cross-fade."""
        return replace(self, keyframes=tuple((position, 1.0 - factor) for position, factor in self.keyframes))

    @property
    def peak(self) -> float:
        """The factor furthest from zero."""
        return max((factor for _, factor in self.keyframes), key=abs)

    def to_json(self) -> dict[str, object]:
        """Return the form that `from_json` reads; defaults are left out."""
        form: dict[str, object] = {"keyframes": [list(keyframe) for keyframe in self.keyframes]}
        if self.axis != "sigma":
            form["axis"] = self.axis
        if self.interpolation != "linear":
            form["interpolation"] = self.interpolation
        return form

    @classmethod
    def from_json(cls, form: object) -> StrengthSchedule:
        """Read `{"keyframes": [[sigma, factor], ...], "axis": ..., "interpolation": ...}`, or the text form."""
        if isinstance(form, str):
            return cls.parse(form)
        if not isinstance(form, Mapping):
            raise StackError(
                _WHERE,
                said("{form!r:.60} is no schedule", form=form),
                expected='"fade_out" or {"keyframes": [[1, 0.2]]}',
                remedy="Correct the schedule",
            )
        known_keys(form, ("keyframes", "axis", "interpolation"), _WHERE, StackError)
        keyframes, axis = form.get("keyframes"), form.get("axis", "sigma")
        return cls(keyframes, axis, form.get("interpolation", "linear"))  # type: ignore[arg-type]  # checked there

    def __str__(self) -> str:
        """Return the shortest text that `parse` reads back to this schedule."""
        if len(self.keyframes) == 1 and self == StrengthSchedule.constant(self.keyframes[0][1]):
            return f"constant:{number_text(self.keyframes[0][1])}"
        on_steps = "@steps" if self.axis == "steps" else ""
        whole = _WHOLE[self.axis]
        if self.interpolation == "linear" and tuple(position for position, _ in self.keyframes) == whole:
            first, last = (factor for _, factor in self.keyframes)
            name = {(1.0, 0.0): "fade_out", (0.0, 1.0): "fade_in"}.get((first, last))
            return f"{name}{on_steps}" if name else f"linear{on_steps}:{number_text(first)}:{number_text(last)}"
        shape = "hold" if self.interpolation == "hold" else "keyframes"
        positions, factors = zip(*self.keyframes, strict=True)
        return f"{shape}{on_steps}:{keyframes_text(map(number_text, positions), factors)}"

    @classmethod
    @typed(StackError)
    def parse(cls, text: str) -> StrengthSchedule:
        """Read the compact text form.

        `0.8`, `constant:0.8` or `constant` for 1; `fade_in`, `fade_out`, `fade_out:0.9:0.6` (from sigma to sigma);
        `linear:0:1`, `linear:0:1:0.9:0.6`; `keyframes:1=0.2,0.5=1`; `hold:1=0,0.9=1`. With `@steps` after the name
        positions are fractions of the steps: `fade_out@steps`, `keyframes@steps:0=1,0.5=0.2`.
        """
        check_length(text, _WHERE, _MAX_LENGTH)
        name, *arguments = text.strip().split(":")
        name, at, axis_name = name.partition("@")
        axis: Axis = "steps" if at else "sigma"
        if at and axis_name != "steps":
            raise StackError(
                _WHERE,
                said("unknown axis {axis_name} in {text}", axis_name=shown(axis_name), text=shown(text)),
                expected="@steps, or none for sigma",
                remedy="Correct the schedule",
            )
        if name in _SHAPES:
            return _SHAPES[name](text, arguments, axis)
        try:
            constant = float(name)
        except ValueError:
            raise StackError(
                _WHERE,
                said("unknown shape {name} in {text}", name=shown(name), text=shown(text)),
                expected=nearest(name, _SHAPES),
                remedy="Choose one that there is",
            ) from None
        return _parse_constant(text, [str(constant), *arguments], axis)

    def _at(self, position: float) -> float:
        """Return the factor at a position on the schedule's own axis."""
        way = -1.0 if self.axis == "sigma" else 1.0  # how positions go as the run does
        after = bisect_left(self.keyframes, way * position, key=lambda keyframe: way * keyframe[0])
        if after < len(self.keyframes) and self.keyframes[after][0] == position:
            return self.keyframes[after][1]
        if after in (0, len(self.keyframes)) or self.interpolation == "hold":
            return self.keyframes[max(after - 1, 0)][1]
        (start, low), (end, high) = self.keyframes[after - 1 : after + 1]
        between = low + (position - start) / (end - start) * (high - low)
        return min(max(between, min(low, high)), max(low, high))  # rounding must not leave the two


#: The positions of a ramp whose ends are not spelt out.
_WHOLE: dict[str, tuple[float, float]] = {"sigma": RAMP, "steps": (0.0, 1.0)}


def _checked(keyframes: object, axis: Axis) -> tuple[Keyframe, ...]:
    """Return keyframes as floats in the order a run passes them."""
    pairs = keyframes_in(keyframes, _WHERE, most=_MAX_KEYFRAMES)
    for number, (position, _) in enumerate(pairs, 1):
        if not 0 <= position <= 1:
            name = "sigma" if axis == "sigma" else "step fraction"
            what = said("{name} {position:g} is outside 0 to 1", name=name, position=position)
            raise StackError(f"{_WHERE} keyframe {number}", what, remedy="Choose a number in that range")
    pairs.sort(reverse=axis == "sigma")
    for (position, _), (other, _) in pairwise(pairs):
        if position == other:
            what = said("two keyframes at {position:g}", position=position)
            expected = "one factor at each position"
            raise StackError(_WHERE, what, expected=expected, remedy="Remove one of the two")
    return tuple(pairs)


def _sigma_at(fraction: float, sigmas: Sequence[float]) -> float:
    """Return the noise level at a fraction of the steps, going straight from one step's sigma to the next."""
    position = round(fraction * (len(sigmas) - 1), 9)  # 0.3 * 10 is 3 here
    step = min(math.floor(position), len(sigmas) - 2)
    return sigmas[step] + (position - step) * (sigmas[step + 1] - sigmas[step])


def _numbers(text: str, arguments: Sequence[str], counts: tuple[int, ...]) -> list[float]:
    if len(arguments) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise StackError(
            _WHERE,
            said("{count} number(s) in {text}", count=len(arguments), text=shown(text)),
            expected=said("{wanted} after the name", wanted=wanted),
            remedy="Correct the schedule",
        )
    return [number_in_text(argument, f"{_WHERE} {shown(text)}", StackError) for argument in arguments]


def _parse_constant(text: str, arguments: Sequence[str], axis: Axis) -> StrengthSchedule:
    return StrengthSchedule.constant(*_numbers(text, arguments, (0, 1)))


def _parse_linear(text: str, arguments: Sequence[str], axis: Axis) -> StrengthSchedule:
    return StrengthSchedule.linear(*_numbers(text, arguments, (2, 4)), axis=axis)


def _parse_fade_in(text: str, arguments: Sequence[str], axis: Axis) -> StrengthSchedule:
    return StrengthSchedule.fade_in(*_numbers(text, arguments, (0, 2)), axis=axis)


def _parse_fade_out(text: str, arguments: Sequence[str], axis: Axis) -> StrengthSchedule:
    return StrengthSchedule.fade_out(*_numbers(text, arguments, (0, 2)), axis=axis)


def _parse_keyframes(text: str, arguments: Sequence[str], axis: Axis) -> StrengthSchedule:
    return StrengthSchedule(_points(text, arguments), axis)


def _parse_hold(text: str, arguments: Sequence[str], axis: Axis) -> StrengthSchedule:
    return StrengthSchedule(_points(text, arguments), axis, "hold")


def _points(text: str, arguments: Sequence[str]) -> tuple[Keyframe, ...]:
    pairs = pairs_in(":".join(arguments))
    if pairs is None:
        what, expected = said("{text} is not readable", text=shown(text)), "position=factor, separated by commas"
        raise StackError(_WHERE, what, expected=expected, remedy="Correct the schedule")
    where = f"{_WHERE} {shown(text)}"
    return tuple(
        (number_in_text(position, where, StackError), number_in_text(factor, where, StackError))
        for position, factor in pairs
    )


_SHAPES: dict[str, Callable[[str, Sequence[str], Axis], StrengthSchedule]] = {
    "constant": _parse_constant,
    "linear": _parse_linear,
    "fade_in": _parse_fade_in,
    "fade_out": _parse_fade_out,
    "keyframes": _parse_keyframes,
    "hold": _parse_hold,
}
