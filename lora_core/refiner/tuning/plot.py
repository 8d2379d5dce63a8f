"""The loss of a tuning as a picture: what was trained and what was held out, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...media.figures import save_figure
from ...training.plot import Curve, draw_curves
from .log import TuneRow

_COLOUR = "#1f5a92"


def save_tune_plot(rows: Sequence[TuneRow], path: Path, *, title: str = "") -> Path:
    """Draw the losses of a log into a file, whole or not at all."""
    trained = [(row.step, row.loss) for row in rows if row.loss is not None]
    held_out = [(row.step, row.held_out) for row in rows if row.held_out is not None]
    return save_figure(draw_curves([Curve("loss", _COLOUR, trained, held_out)], title=title), path)
