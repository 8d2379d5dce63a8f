"""The strengths that somebody advises for a LoRA: one number, a range, or both."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Beyond these no advice is meant seriously.
_LARGEST = 20.0


@dataclass(frozen=True)
class Advised:
    """Strengths from `low` to `high`, and the one to begin with."""

    low: float
    high: float
    usual: float


def advised(usual: object = None, low: object = None, high: object = None) -> Advised | None:
    """Return the advice that numbers stand for as tools write them: numbers or texts, 0 or nothing for none."""
    one, least, most = (_number(value) for value in (usual, low, high))
    ends = [value for value in (least, most, one) if value is not None]
    if not ends:
        return None
    first, last = min(ends), max(ends)
    return Advised(first, last, one if one is not None else round((first + last) / 2, 3))


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < abs(number) <= _LARGEST else None
