"""The pictures of a comparison of refiners, drawn from its table alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...media.figures import save_figure
from ...media.panels import INK, QUIET, dress, panels
from ..plots import COLOURS, TITLES
from .names import Cell, Data, ranked_cells, swept_cells, told
from .questions import HANDWRITTEN, KNOWN, NEW
from .sentences import subject_title, tuned_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PLAIN, _RIGHT = "#9a9a9a", "#444444"
_LEARNT, _KEPT = "new words right, %", "known words right, %"


def draw_kept(data: Data) -> Figure | None:
    """Draw what is learnt against what is kept, a line through the checkpoints for each rate."""
    shares = list(dict.fromkeys(cell["rehearsal"] for cell in swept_cells(data)))
    if not shares:
        return None
    with panels(len(shares), "learnt against kept: a line a rate, a mark a checkpoint", num_columns=2) as (
        figure,
        drawn,
    ):
        figure.set_figheight(5.2)
        for axes, share in zip(drawn, shares, strict=True):
            for cell in swept_cells(data):
                if cell["rehearsal"] == share:
                    _draw_path(axes, cell)
            _draw_levels(axes, data)
            dress(axes, _LEARNT, _KEPT, whole_steps=False, outer=False)
            axes.set(xlim=(-3, 103), ylim=(-3, 103))
            axes.set_title(f"{100 * share:.0f} % rehearsed" if share else "no rehearsal", fontsize=10, color=QUIET)
            _label(axes, "upper left")
    return figure


def _draw_path(axes: Axes, cell: Cell) -> None:
    kept, learnt = ([100 * point[name] for point in cell["curve"]] for name in (KNOWN, NEW))
    colour = COLOURS[cell["method"]]
    axes.plot(kept, learnt, color=colour, linewidth=1.0, alpha=0.45)
    sizes = [10 + 14 * place for place in range(len(kept))]
    axes.scatter(kept, learnt, s=sizes, color=colour, alpha=0.6, linewidths=0, label=TITLES[cell["method"]])
    axes.annotate(
        f"{cell['lr']:g}", (kept[-1], learnt[-1]), fontsize=7, color=colour, xytext=(4, 3), textcoords="offset points"
    )


def _draw_levels(axes: Axes, data: Data) -> None:
    """Draw what answers without tuning."""
    for name, mark in (("untuned", "x"), ("dictionary", "v"), ("dictionary-new", "^")):
        if (row := data["baselines"].get(name)) is not None:
            place = [100 * row["measured"][key]["exact"] for key in (KNOWN, NEW)]
            axes.plot(*place, mark, color=_RIGHT, markersize=7, label=row["title"])


def _label(axes: Axes, where: Literal["upper left", "upper right"]) -> None:
    """Add a legend in which each name stands once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(list(once.values()), list(once), loc=where, frameon=False, fontsize=8, labelcolor=INK)


def draw_rates(data: Data) -> Figure | None:
    """Draw what is right against the rate, with rehearsal and without."""
    cells, sets = list(swept_cells(data)), [name for name in (NEW, KNOWN, HANDWRITTEN) if name in data["sets"]]
    if not cells:
        return None
    with panels(len(sets), "right to the letter by learning rate", num_columns=len(sets)) as (figure, drawn):
        figure.set_figheight(4.2)
        for axes, name in zip(drawn, sets, strict=True):
            for method, rehearsal in dict.fromkeys((cell["method"], cell["rehearsal"]) for cell in cells):
                own = [cell for cell in cells if (cell["method"], cell["rehearsal"]) == (method, rehearsal)]
                label = TITLES[method] + (", rehearsing" if rehearsal else "")
                _draw_shares(axes, own, "lr", name, COLOURS[method], label, is_dashed=bool(rehearsal))
            axes.set_xscale("log")
            axes.set_ylim(-3, 103)
            axes.set_title(data["sets"][name]["title"], fontsize=10, color=QUIET)
            dress(axes, "right, %", "learning rate", whole_steps=False)
        _label(drawn[0], "upper right")
    return figure


def _draw_shares(
    axes: Axes, cells: Sequence[Cell], key: str, name: str, colour: str, label: str, *, is_dashed: bool = False
) -> None:
    """Draw a share with the least and the most over the seeds."""
    own = sorted(cells, key=lambda cell: float(cell[key]))
    places = [cell[key] for cell in own]
    spreads = [told(cell, name) or {} for cell in own]
    means, least, most = ([100 * spread[what] for spread in spreads] for what in ("mean", "least", "most"))
    axes.fill_between(places, least, most, color=colour, alpha=0.15, linewidth=0)
    style = "--" if is_dashed else "-"
    axes.plot(places, means, style, color=colour, linewidth=1.7, marker="o", markersize=4, label=label)


def draw_ranks(data: Data) -> Figure | None:
    """Draw what is right against LoRA's rank, at the best of the rates that were tried of it."""
    cells = ranked_cells(data)
    ranks = list(dict.fromkeys(cell["rank"] for cell in cells))
    if len(ranks) < 2:
        return None
    # By the first seed, which is the only one that other ranks have.
    by_rank = [[cell for cell in cells if cell["rank"] == rank] for rank in ranks]
    best = [max(own, key=lambda cell: float(cell["score"]["values"][0])) for own in by_rank]
    colours = {NEW: "#0072b2", KNOWN: "#d55e00", HANDWRITTEN: "#7a5195"}
    with panels(1, "LoRA's rank, at the best of its rates, without rehearsal") as (figure, (axes,)):
        for name in [name for name in colours if name in data["sets"]]:
            _draw_shares(axes, best, "rank", name, colours[name], data["sets"][name]["title"])
        axes.set_xscale("log", base=2)
        axes.set_xticks(ranks, [f"{cell['rank']}\nrate {cell['lr']:g}" for cell in best])
        axes.minorticks_off()
        axes.set_ylim(-3, 103)
        dress(axes, "right, %", "rank", whole_steps=False)
        axes.legend(loc="best", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def draw_gap(data: Data) -> Figure | None:
    """Draw the videos that show all three things as asked, and the share of the gap that is closed."""
    videos = data["videos"]
    if videos is None:
        return None
    subjects = videos["subjects"]
    names = ["right", *reversed([name for name in subjects if name not in ("raw", "right")]), "raw"]
    num = videos["num_by_hand"]
    parts = {"by_hand": f"{num} requests written by hand", "drawn": f"{videos['num'] - num} requests in new words"}
    shown = [part for part in parts if subjects["raw"][part] is not None]
    title = "videos that show colour, shape and direction as asked"
    with panels(len(shown), title, num_columns=2) as (figure, drawn):
        figure.set_figheight(0.36 * len(names) + 1.4)
        for axes, part in zip(drawn, shown, strict=True):
            for place, name in enumerate(names):
                _draw_bar(axes, place, subjects[name], part, _colour(data, name), tells=name not in ("raw", "right"))
            axes.set_yticks(range(len(names)), [subject_title(data, name) for name in names])
            axes.set_xlim(0, 148)
            axes.set_xticks(range(0, 101, 20))
            axes.set_title(parts[part], fontsize=10, color=QUIET)
            dress(axes, "", "of the videos, %", whole_steps=False)
            axes.grid(visible=False, axis="y")
            if axes is not drawn[0]:
                axes.tick_params(labelleft=False)
    return figure


def _colour(data: Data, name: str) -> str:
    tuned = tuned_names(data)
    return COLOURS[tuned[name]["method"]] if name in tuned else _RIGHT if name in ("raw", "right") else _PLAIN


def _draw_bar(axes: Axes, place: int, subject: Mapping[str, Any], part: str, colour: str, *, tells: bool) -> None:
    """Draw one bar, with the least and the most of the seeds, and what of the gap is closed."""
    spread, closed = subject[part], subject["closed"][part]
    axes.barh(place, 100 * spread["mean"], color=colour, height=0.7)
    axes.plot([100 * spread["least"], 100 * spread["most"]], [place, place], color=INK, linewidth=1.2)
    share = f", {100 * closed['mean']:.0f} % closed" if tells and closed else ""
    text = f"{100 * spread['mean']:.0f} %{share}"
    axes.text(100 * spread["most"] + 1.5, place, text, va="center", fontsize=8, color=INK)


#: What a picture is called -> how it is drawn; None where there is nothing to draw yet.
PICTURES: Mapping[str, Callable[[Data], Figure | None]] = {
    "kept": draw_kept,
    "rates": draw_rates,
    "ranks": draw_ranks,
    "gap": draw_gap,
}


def save_pictures(data: Data, folder: Path) -> dict[str, Path]:
    """Draw all there is to draw into a folder; return name -> file."""
    drawn: dict[str, Any] = {name: draw(data) for name, draw in PICTURES.items()}
    return {
        name: save_figure(figure, folder / f"refiner-{name}.png")
        for name, figure in drawn.items()
        if figure is not None
    }
