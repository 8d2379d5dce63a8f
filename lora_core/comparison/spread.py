"""The spread of a number over the seeds: its mean, and the interval in which the mean of many seeds would lie."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

#: Student's t of 1, 2, … degrees of freedom, between whose negative and itself 95 % lie; behind the last it is near 2.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def spread(values: Sequence[float]) -> dict[str, object] | None:
    """Return the mean, the half width of its 95 % t-interval (None of a single value), least and most; None of none."""
    if not values:
        return None
    num, half = len(values), None
    if num > 1:
        half = _T[min(num - 2, len(_T) - 1)] * statistics.stdev(values) / num**0.5
    return {
        "mean": statistics.fmean(values),
        "half_width": half,
        "least": min(values),
        "most": max(values),
        "values": list(values),
    }
