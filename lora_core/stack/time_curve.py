"""A curve over the clip's time: a factor on a row's strength, by keyframes in seconds or frames.

Not to be confused with a strength schedule, which is a curve over the noise: that one says at which steps a LoRA acts,
this one in which part of the finished clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from ..checks import finite_number, known, known_keys, number_in_text, number_text, shown, typed
from ..errors import StackError
from ..wording import said

Unit = Literal["seconds", "frames"]

#: A sudden change takes so many frames: one latent frame, the finest that a network sees.
SOFT_FRAMES = 4
_WHERE = "time"
_FORM = '"from 2s", "until frame 33", "1s-3s" or "0s=0,2s=1"'
_MAX_KEYFRAMES, _MAX_LENGTH = 1000, 50_000
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
#: A time as people write it: 2s, 2 sec, 33f, frame 33.
_TIME = re.compile(rf"(?:(frames?)\s*)?{_NUMBER}\s*(s|secs?|seconds?|f|frames?)?", re.IGNORECASE)
_HARD = re.compile(r"\s*;\s*hard\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class TimeCurve:
    """A factor over the clip's time; before the first keyframe and behind the last it stays as it is there.

    Attributes:
        keyframes: (time, factor), with straight lines between them; two at one time are a sudden change.
        unit: what a time counts; frame 0 is the first.
        hard: leave sudden changes sudden; else each takes `SOFT_FRAMES`, and so does any change that is quicker.
    """

    keyframes: tuple[tuple[float, float], ...]
    unit: Unit = "seconds"
    hard: bool = False

    def __post_init__(self) -> None:
        known(self.unit, get_args(Unit), f"{_WHERE} unit", StackError)
        object.__setattr__(self, "keyframes", _checked(self.keyframes))

    def at_frame(self, frame: float, fps: float) -> float:
        """Return the factor at a frame of a clip, counted from 0 at its beginning.

        Where the curve is not hard, it is the mean over `SOFT_FRAMES` around the frame; over fewer at the beginning.
        """
        per_frame = 1 / fps if self.unit == "seconds" else 1.0
        reach = 0.0 if self.hard else min(SOFT_FRAMES / 2, frame)
        if reach <= 0:
            return self._at(frame * per_frame)
        return self._mean((frame - reach) * per_frame, (frame + reach) * per_frame)

    def seconds(self, fps: float) -> tuple[tuple[float, float], ...]:
        """Return the keyframes with their times in seconds."""
        scale = 1.0 if self.unit == "seconds" else 1 / fps
        return tuple((time * scale, factor) for time, factor in self.keyframes)

    @classmethod
    @typed(StackError)
    def parse(cls, text: str) -> TimeCurve:
        """Read the text form.

        `from 2s`, `until 2s`, `1s-3s`, the same with `frame 33` or `33f`, or keyframes: `0s=0,2s=1,4s=0.5`. With
        `; hard` behind it, a sudden change is not softened.
        """
        if len(text) > _MAX_LENGTH:
            raise StackError(
                _WHERE,
                said("{count:,} letters", count=len(text)),
                expected=said("at most {most:,}", most=_MAX_LENGTH),
                remedy="Shorten it",
            )
        body = _HARD.sub("", text).strip()
        keyframes, units = _keyframes_in(body, text)
        if len(units) > 1:
            raise StackError(
                _WHERE,
                said("{text} counts seconds and frames", text=shown(text)),
                expected="one of the two",
                remedy="Write all times in the same unit",
            )
        if not units:
            raise StackError(
                _WHERE,
                said("{text} says neither seconds nor frames", text=shown(text)),
                expected=_FORM,
                remedy="Write s or f behind the numbers",
            )
        return cls(tuple(keyframes), units.pop(), body != text.strip())

    @classmethod
    def from_json(cls, form: object) -> TimeCurve:
        """Read the text form, or `{"keyframes": [[time, factor], ...], "unit": "seconds", "hard": false}`."""
        if isinstance(form, str):
            return cls.parse(form)
        if not isinstance(form, Mapping):
            raise StackError(
                _WHERE,
                said("{form!r:.60} is no curve over time", form=form),
                expected=_FORM,
                remedy="Correct the curve",
            )
        known_keys(map(str, form), ("keyframes", "unit", "hard"), _WHERE, StackError)
        hard = form.get("hard", False)
        if not isinstance(hard, bool):
            raise StackError(
                f"{_WHERE} hard",
                said("{value!r} is neither true nor false", value=hard),
                remedy="Write true or false",
            )
        return cls(form.get("keyframes"), form.get("unit", "seconds"), hard)  # type: ignore[arg-type]  # checked there

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return str(self)

    def __str__(self) -> str:
        """Return the shortest text that `parse` reads back to this curve."""
        sign = "s" if self.unit == "seconds" else "f"
        times = [f"{number_text(time)}{sign}" for time, _ in self.keyframes]
        factors = tuple(factor for _, factor in self.keyframes)
        form = _SPANS.get(factors) if len(set(times[:2])) == 1 and len(set(times[2:])) < 2 else None
        if form is None:
            pairs = zip(times, factors, strict=True)
            form = ",".join(f"{time}={number_text(factor)}" for time, factor in pairs)
        return form.format(first=times[0], last=times[-1]) + ("; hard" if self.hard else "")

    def _at(self, time: float) -> float:
        """Return the factor at a time in the curve's own unit; at a sudden change, what comes behind it."""
        before = [keyframe for keyframe in self.keyframes if keyframe[0] <= time]
        if not before:
            return self.keyframes[0][1]
        start, low = before[-1]
        if len(before) == len(self.keyframes):
            return low
        end, high = self.keyframes[len(before)]
        return low + (time - start) / (end - start) * (high - low)

    def _mean(self, start: float, end: float) -> float:
        """Return the mean factor from one time to a later one; exact, for the curve is straight between its knots."""
        knots = [start, *(time for time, _ in self.keyframes if start < time < end), end]
        areas = [
            (self._at(first) + self._just_before(second)) / 2 * (second - first) for first, second in pairwise(knots)
        ]
        return sum(areas) / (end - start)

    def _just_before(self, time: float) -> float:
        """Return the factor at a time; at a sudden change, what comes before it."""
        here = [factor for at, factor in self.keyframes if at == time]
        return here[0] if here else self._at(time)


#: The factors of curves that people call a span; each change of theirs is a sudden one.
_SPANS: Mapping[tuple[float, ...], str] = {
    (0.0, 1.0): "from {first}",
    (1.0, 0.0): "until {first}",
    (0.0, 1.0, 1.0, 0.0): "{first}-{last}",
}


def _keyframes_in(body: str, text: str) -> tuple[list[tuple[float, float]], set[Unit]]:
    """Return the keyframes that a text stands for, and the units that it names."""
    word, _, rest = body.partition(" ")
    if word.lower() in ("from", "until"):
        time, units = _time(rest, text)
        first = 0.0 if word.lower() == "from" else 1.0
        return [(time, first), (time, 1 - first)], units
    if "=" in body:
        return _pairs_in(body, text)
    start_text, dash, end_text = body.partition("-")
    if not dash:
        raise _unreadable(text)
    (start, units), (end, more) = _time(start_text, text), _time(end_text, text)
    if start >= end:
        raise StackError(
            _WHERE,
            said("{text} ends before it begins", text=shown(text)),
            expected="an earlier time, then a later one",
            remedy="Exchange the two",
        )
    return [(start, 0.0), (start, 1.0), (end, 1.0), (end, 0.0)], units | more


def _pairs_in(body: str, text: str) -> tuple[list[tuple[float, float]], set[Unit]]:
    pairs = [pair.partition("=") for pair in body.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise _unreadable(text)
    times = [_time(time, text) for time, _, _ in pairs]
    factors = [number_in_text(factor, f"{_WHERE} {shown(text)}", StackError) for _, _, factor in pairs]
    keyframes = [(time, factor) for (time, _), factor in zip(times, factors, strict=True)]
    return keyframes, {unit for _, units in times for unit in units}


def _time(part: str, text: str) -> tuple[float, set[Unit]]:
    """Return a time and the unit that it names, if it names one."""
    found = _TIME.fullmatch(part.strip())
    if found is None:
        raise _unreadable(text)
    word = (found[1] or found[3] or "").lower()
    units: set[Unit] = {"frames" if word.startswith("f") else "seconds"} if word else set()
    return float(found[2]), units


def _unreadable(text: str) -> StackError:
    return StackError(
        _WHERE, said("{text} is not readable", text=shown(text)), expected=_FORM, remedy="Correct the curve"
    )


def _checked(keyframes: object) -> tuple[tuple[float, float], ...]:
    """Return keyframes as floats in the order of their times; of two at one time, as they were given."""
    if not isinstance(keyframes, Iterable) or isinstance(keyframes, str | bytes):
        raise StackError(
            _WHERE,
            said("keyframes {keyframes!r:.60} are no list", keyframes=keyframes),
            expected="[(time, factor), ...]",
            remedy="Correct the curve",
        )
    given = tuple(keyframes)
    if not 1 <= len(given) <= _MAX_KEYFRAMES:
        raise StackError(
            _WHERE,
            said("{count:,} keyframes", count=len(given)),
            expected=said("1 to {most:,}", most=_MAX_KEYFRAMES),
            remedy="Add or remove some",
        )
    pairs = [_checked_keyframe(keyframe, f"{_WHERE} keyframe {number}") for number, keyframe in enumerate(given, 1)]
    pairs.sort(key=lambda pair: pair[0])
    times = [time for time, _ in pairs]
    if (thrice := next((time for time in times if times.count(time) > 2), None)) is not None:
        raise StackError(
            _WHERE,
            said("more than two keyframes at {time:g}", time=thrice),
            expected="two at one time for a sudden change",
            remedy="Remove one of them",
        )
    return tuple(pairs)


def _checked_keyframe(keyframe: object, where: str) -> tuple[float, float]:
    if not isinstance(keyframe, Sequence) or isinstance(keyframe, str) or len(keyframe) != 2:
        raise StackError(
            where,
            said("{keyframe!r:.60} is none", keyframe=keyframe),
            expected="a pair: time, factor",
            remedy="Correct the curve",
        )
    time, factor = (finite_number(value, where, StackError) for value in keyframe)
    if time < 0:
        raise StackError(
            where,
            said("{time:g} is before the clip begins", time=time),
            expected="0 or more",
            remedy="Choose a time in the clip",
        )
    return time, factor
