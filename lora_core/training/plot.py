"""The loss of a run as a picture: of every expert what it was trained and what was held out, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TrainingError
from ..experts import EXPERTS, Expert
from ..media.figures import figure_image, fonts, save_figure
from .log import LogRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _QUIET, _GRID = "#222222", "#6b6b6b", "#00000018"
#: The colours that plans give the experts.
_COLOURS = {"high_noise": "#9a5a12", "low_noise": "#1f5a92"}
_ALARM = "#b00020"
#: The curve is the mean over about this share of the steps, so that it bends where the training does.
_SMOOTHED_SHARE = 0.05
_MIN_SMOOTHED = 5
#: Losses at the edges of what is shown, so that the first steps do not press all others flat.
_SHOWN = (0.5, 99.0)


@dataclass(frozen=True)
class Curve:
    """The losses in one panel.

    Attributes:
        trained: (step, loss), not finite where it was not.
        held_out: the same of what was measured.
    """

    label: str
    colour: str
    trained: Sequence[tuple[int, float]]
    held_out: Sequence[tuple[int, float]]


def draw_losses(rows: Sequence[LogRow], *, title: str = "", width: float = 10.0) -> Figure:
    """Draw the losses of a log into a new figure, one panel for each expert that was trained."""
    experts = [e for e in EXPERTS if any(row.expert == e or row.held_out(e) is not None for row in rows)]
    return draw_curves([_curve(rows, expert, is_only=len(experts) == 1) for expert in experts], title, width)


def draw_curves(curves: Sequence[Curve], title: str = "", width: float = 10.0) -> Figure:
    """Draw losses into a new figure, a panel each.

    Each loss is a faint dot; the line is their running mean, and the marks are the held-out losses, the best ringed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not curves:
        raise TrainingError("loss plot", "the log has no row yet", remedy="Train a step first")
    with rc_context({"font.family": fonts(), "font.size": 10.0, "axes.edgecolor": _QUIET}):
        figure = Figure(figsize=(width, 2.7 * len(curves) + 0.7), dpi=120, facecolor="white", layout="constrained")
        panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        for axes, curve in zip(panels, curves, strict=True):
            _draw_curve(axes, curve)
        panels[-1].set_xlabel("step", color=_QUIET)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    return figure


def loss_image(rows: Sequence[LogRow], *, title: str = "") -> np.ndarray:
    """Draw the losses of a log into an array (height, width, 3) of uint8."""
    return figure_image(draw_losses(rows, title=title))


def save_loss_plot(rows: Sequence[LogRow], path: str | Path, *, title: str = "") -> Path:
    """Draw the losses of a log into a file, whole or not at all."""
    return save_figure(draw_losses(rows, title=title), path)


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return the running mean, over as many values as count for the eye; those that are not finite count for none.

    It looks as far ahead as back, and at the ends as far as there is anything.
    """
    reach = max(_MIN_SMOOTHED, round(_SMOOTHED_SHARE * len(values))) // 2
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    places = np.arange(len(values))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _curve(rows: Sequence[LogRow], expert: Expert, *, is_only: bool) -> Curve:
    trained = [(row.step, row.loss) for row in rows if row.expert == expert and row.loss is not None]
    held_out = [(row.step, loss) for row in rows if (loss := row.held_out(expert)) is not None]
    label = "loss" if is_only else f"loss, {expert.replace('_', '-')} expert"
    return Curve(label, _COLOURS[expert], trained, held_out)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    steps = np.array([step for step, _ in curve.trained])
    losses = np.array([loss for _, loss in curve.trained], dtype=float)
    colour = curve.colour
    axes.plot(steps, losses, ".", color=colour, alpha=0.22, markersize=3.5, markeredgewidth=0, label="each step")
    axes.plot(steps, smoothed(losses), color=colour, linewidth=1.8, label="train")
    held_out = [(step, loss) for step, loss in curve.held_out if math.isfinite(loss)]
    if held_out:
        _draw_held_out(axes, held_out)
    for count, step in enumerate(steps[~np.isfinite(losses)]):
        axes.axvline(step, color=_ALARM, linewidth=1.2, label="" if count else "not finite")
    _dress(axes, curve.label)
    _limit(axes, losses, [loss for _, loss in held_out])


def _draw_held_out(axes: Axes, held_out: Sequence[tuple[int, float]]) -> None:
    steps, losses = zip(*held_out, strict=True)
    axes.plot(steps, losses, color=_INK, linewidth=1.4, linestyle="--", marker="o", markersize=4, label="held out")
    step, best = min(held_out, key=lambda point: point[1])
    label = f"best held out {best:.4g} at step {step}"
    axes.plot([step], [best], "o", markersize=11, markerfacecolor="none", markeredgecolor=_INK, label=label)


def _limit(axes: Axes, losses: np.ndarray, held_out: Sequence[float]) -> None:
    """Show nearly all losses and every held-out one."""
    finite = losses[np.isfinite(losses)]
    shown = [*(np.percentile(finite, _SHOWN) if len(finite) else ()), *held_out]
    if not shown:
        return
    low, high = min(shown), max(shown)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _dress(axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(label, color=_QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_QUIET, length=3)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=_INK)
