"""The best rate of each method: the one whose training lost least on clips held out."""

from __future__ import annotations

import statistics

from ..training.settings.adapter import Method
from .config import CompareConfig, Run
from .folder import ComparisonFolder, read_json
from .subjects import BASES


def best_rates(config: CompareConfig, folder: ComparisonFolder) -> dict[Method, float]:
    """Return method -> the rate whose training lost least on held-out clips, of those methods that have a training."""
    best = {}
    for method in config.settings.methods:
        losses = {run.lr: loss for run in config.sweep if run.method == method and (loss := _loss(folder, run))}
        if losses:
            best[method] = min(losses, key=losses.__getitem__)
    return best


def _loss(folder: ComparisonFolder, run: Run) -> float | None:
    """Return the held-out loss of a finished training on the base it was trained on, the mean over the experts."""
    found = (read_json(folder.judged(run)) or {}).get("held_out")
    return statistics.fmean(found[BASES[run.method][0]].values()) if found else None
