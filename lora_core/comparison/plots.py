"""The pictures of a comparison, drawn from its table alone: curves, the sweep of the rates, learnt against moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..experts import EXPERTS
from ..media.figures import save_figure
from ..media.panels import INK, dress, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Data = Mapping[str, Any]

#: Method -> its colour, of Okabe and Ito's for all kinds of colour vision.
COLOURS: Mapping[str, str] = {"full": "#d55e00", "lora": "#0072b2", "qlora": "#007a5a"}
TITLES: Mapping[str, str] = {"full": "full", "lora": "LoRA", "qlora": "QLoRA"}


def draw_curves(data: Data) -> Figure | None:
    """Draw the held-out losses of each method at its best rate: the mean over the seeds, and the least and the most."""
    chosen = {method: _best_rows(data, method) for method in data["best"]}
    experts = [e for e in EXPERTS if any(len(row["curve"][e]) > 1 for rows in chosen.values() for row in rows)]
    if not experts:
        return None
    with panels(len(experts), "held-out loss while training, best rate of each method") as (figure, drawn):
        for axes, expert in zip(drawn, experts, strict=True):
            for method, rows in chosen.items():
                _draw_curve(axes, method, [row["curve"][expert] for row in rows])
            dress(axes, f"{expert.replace('_', '-')} expert", "step")
            axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _best_rows(data: Data, method: str) -> list[Mapping[str, Any]]:
    lr = data["best"][method]
    return [row for row in data["runs"] if row["method"] == method and row["lr"] == lr and row["held_out"]]


def _draw_curve(axes: Axes, method: str, curves: list[list[list[float]]]) -> None:
    losses = [{int(step): loss for step, loss in curve} for curve in curves]
    common = sorted(set.intersection(*map(set, losses))) if losses else []
    if not common:
        return
    values = np.array([[by_step[step] for step in common] for by_step in losses])
    axes.fill_between(common, values.min(0), values.max(0), color=COLOURS[method], alpha=0.15, linewidth=0)
    label = f"{TITLES[method]}, {len(curves)} seed{'s' if len(curves) > 1 else ''}"
    axes.plot(common, values.mean(0), color=COLOURS[method], linewidth=1.8, marker="o", markersize=3, label=label)


def draw_rates(data: Data) -> Figure | None:
    """Draw the held-out loss behind the last step against the rate, of the trainings with the first seed."""
    seed = data["config"]["compare"]["seeds"][0]
    swept = [row for row in data["runs"] if row["seed"] == seed and row["held_out"]]
    if not swept:
        return None
    with panels(1, "held-out loss by learning rate, first seed") as (figure, (axes,)):
        for method in dict.fromkeys(row["method"] for row in swept):
            points = sorted((row["lr"], _mean_loss(row)) for row in swept if row["method"] == method)
            rates, losses = zip(*points, strict=True)
            colour = COLOURS[method]
            axes.plot(rates, losses, color=colour, linewidth=1.8, marker="o", markersize=5, label=TITLES[method])
            best = min(points, key=lambda point: point[1])
            axes.plot(*best, "o", markersize=12, markerfacecolor="none", markeredgecolor=colour)
        axes.set_xscale("log")
        dress(axes, "mean of the experts", "learning rate", whole_steps=False)
        axes.legend(loc="upper center", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _mean_loss(row: Mapping[str, Any]) -> float:
    losses = next(iter(row["held_out"].values()))  # on the base that was trained on
    return float(np.mean(list(losses.values())))


def draw_tradeoff(data: Data) -> Figure | None:
    """Draw what was learnt against how far other prompts have moved, a mark for each seed."""
    points = [
        (row["base"], run["method"], row["moved"], row["score"] if row["score"] is not None else _gain(data, run, row))
        for row in data["videos"].values()
        if (run := _run_named(data, row["run"])) is not None and row["moved"] is not None
    ]
    if not points:
        return None
    marks = {"plain": "o", "packed": "s"}
    with panels(1, "what was learnt, and what else has moved") as (figure, (axes,)):
        for base, method in dict.fromkeys((point[0], point[1]) for point in points):
            own = [point[2:] for point in points if point[:2] == (base, method)]
            label = TITLES[method] + (f" on the {base} base" if method == "qlora" else "")
            style: dict[str, Any] = {
                "color": COLOURS[method],
                "markerfacecolor": "none" if base == "packed" else COLOURS[method],
            }
            axes.plot(*zip(*own, strict=True), marks[base], markersize=8, alpha=0.8, label=label, **style)
        dress(axes, data["score"], "how far the latents of other prompts have moved", whole_steps=False)
        axes.legend(loc="best", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _gain(data: Data, run: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    before = np.mean(list(data["base"]["held_out"]["plain"].values()))
    return float(1 - np.mean(list(run["held_out"][row["base"]].values())) / before)


def _run_named(data: Data, name: str | None) -> Mapping[str, Any] | None:
    return next((row for row in data["runs"] if row["name"] == name), None)


#: What a picture is called -> how it is drawn; None where there is nothing to draw yet.
PICTURES: Mapping[str, Callable[[Data], Figure | None]] = {
    "loss": draw_curves,
    "rates": draw_rates,
    "learnt": draw_tradeoff,
}


def save_pictures(data: Data, folder: Path) -> dict[str, Path]:
    """Draw all there is to draw into a folder; return name -> file."""
    drawn = {}
    for name, draw in PICTURES.items():
        if (figure := draw(data)) is not None:
            drawn[name] = save_figure(figure, folder / f"comparison-{name}.png")
    return drawn
