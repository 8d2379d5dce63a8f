"""The best rate of each method, with rehearsal and without: by questions that nothing else is told of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from ...training.settings.adapter import Method
from ..folder import read_json
from .config import RefinersConfig
from .folder import RefinersFolder
from .questions import CHOICE


def score(judged: Mapping[str, Any]) -> float | None:
    """Return the mean share of right answers in new and in known words, on the base that was tuned; None of none."""
    measured = next(iter(judged.get("measured", {}).values()), None)
    return statistics.fmean(measured[name]["exact"] for name in CHOICE) if measured else None


def best_rates(config: RefinersConfig, folder: RefinersFolder) -> dict[tuple[Method, float], float]:
    """Return (method, share of rehearsal) -> the rate that scored most in the sweep, the lower of equals."""
    scores: dict[tuple[Method, float], dict[float, float]] = {}
    for run in config.sweep:
        if (found := score(read_json(folder.judged(run)) or {})) is not None:
            scores.setdefault((run.method, run.rehearsal), {})[run.lr] = found
    return {cell: max(by_rate, key=lambda lr: (by_rate[lr], -lr)) for cell, by_rate in scores.items()}
