"""The curves of a run: its losses in no more points than a small plot has room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..experts import EXPERTS
from .log import LogRow


def loss_curves(rows: Sequence[LogRow], num_points: int = 160) -> dict[str, Any]:
    """Return the losses of a log as plain values: `trained` and `held_out`, expert -> [[step, loss], …].

    Where an expert has more steps than `num_points`, each point is the mean of as many steps as it takes.
    """
    trained: dict[str, list[list[float]]] = {}
    held_out: dict[str, list[list[float]]] = {}
    for expert in EXPERTS:
        own = [(row.step, row.loss) for row in rows if row.expert == expert and row.loss is not None]
        measured = [(row.step, loss) for row in rows if (loss := row.held_out(expert)) is not None]
        for curves, points in ((trained, own), (held_out, measured)):
            finite = [point for point in points if np.isfinite(point[1])]
            if finite:
                curves[expert] = _thinned(finite, num_points)
    return {"trained": trained, "held_out": held_out}


def _thinned(points: Sequence[tuple[int, float]], num_points: int) -> list[list[float]]:
    groups = np.array_split(np.array(points), min(num_points, len(points)))
    return [[int(group[-1, 0]), round(float(group[:, 1].mean()), 5)] for group in groups]
