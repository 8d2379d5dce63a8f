"""The pictures of an evaluation, drawn from its table alone: each figure against the length, a line for each way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..media.figures import save_figure
from ..media.measures import MEASURES
from ..media.panels import INK, dress, panels
from .meaning import MEANINGS
from .tables import Data, cell_of, mean_of, meanings_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Read = Callable[[Mapping[str, Any]], float | None]

#: Colours of Okabe and Ito's for all kinds of colour vision, by the first word of a variant's name.
_COLOURS: Mapping[str, str] = {"base": "#d55e00", "lora": "#0072b2"}
_OTHERS = ("#007a5a", "#cc79a7", "#e69f00", "#56b4e9")
_MIB = 2**20


def draw_figures(data: Data) -> Figure | None:
    """Draw what was measured of any model's videos."""
    return _draw(data, "what the videos show, by length", {m.title: _reader(name) for name, m in MEASURES.items()})


def draw_meaning(data: Data) -> Figure | None:
    """Draw the share of the embedded model's videos that show what their prompts name."""
    return _draw(data, "as asked, share of the videos", {MEANINGS[n][0]: _reader(n) for n in meanings_in(data)}, low=0)


def draw_cost(data: Data) -> Figure | None:
    """Draw what the videos took."""

    def memory(cell: Mapping[str, Any]) -> float | None:
        return cell["memory_bytes"] and cell["memory_bytes"] / _MIB

    costs = {
        "seconds of the processor, a video": _reader("processor_seconds"),
        "seconds a step": _reader("step_seconds"),
        "tensors at the peak, MiB": memory,
    }
    return _draw(data, "what they took, by length", costs, low=0)


#: What a picture is called -> how it is drawn; None where there is nothing to draw.
PICTURES: Mapping[str, Callable[[Data], Figure | None]] = {
    "meaning": draw_meaning,
    "figures": draw_figures,
    "cost": draw_cost,
}


def save_pictures(data: Data, folder: Path) -> dict[str, Path]:
    """Draw all there is to draw into a folder; return name -> file."""
    drawn = {}
    for name, draw in PICTURES.items():
        if (figure := draw(data)) is not None:
            drawn[name] = save_figure(figure, folder / f"lengths-{name}.png")
    return drawn


def _reader(name: str) -> Read:
    return lambda cell: mean_of(cell, name)


def _draw(data: Data, title: str, reads: Mapping[str, Read], *, low: float | None = None) -> Figure | None:
    """Draw a panel for each figure; None where no figure has a value at two lengths."""
    lines = {what: dict(_lines(data, read)) for what, read in reads.items()}
    lines = {what: found for what, found in lines.items() if any(len(points) > 1 for points in found.values())}
    if not lines:
        return None
    colours = _colours_of(data)
    with panels(len(lines), title, num_columns=min(2, len(lines))) as (figure, axes):
        for panel, (what, found) in zip(axes, lines.items(), strict=True):
            for variant, points in found.items():
                style = "--" if variant.endswith("-radial") else "-"
                panel.plot(
                    *zip(*points, strict=True),
                    style,
                    color=colours[variant],
                    linewidth=1.8,
                    marker="o",
                    markersize=4,
                    label=data["variants"][variant],
                )
            if low is not None:
                panel.set_ylim(bottom=low)
            panel.set_xticks(data["frames"])
            dress(panel, what, "frames", whole_steps=False, outer=False)
        named = {str(line.get_label()): line for panel in axes for line in panel.get_lines()}
        place: dict[str, Any] = {"loc": "outside lower left", "ncols": 3, "handlelength": 3}
        figure.legend(named.values(), named, **place, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _lines(data: Data, read: Read) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    for variant in data["variants"]:
        points = []
        for frames in data["frames"]:
            cell = cell_of(data, variant, frames)
            if cell is not None and (value := read(cell)) is not None:
                points.append((frames, value))
        if points:
            yield variant, points


def _colours_of(data: Data) -> dict[str, str]:
    """Return variant -> colour; those with and without radial attention share theirs."""
    kinds = dict.fromkeys(variant.partition("-")[0] for variant in data["variants"])
    others = iter(_OTHERS * len(kinds))
    colours = {kind: _COLOURS.get(kind) or next(others) for kind in kinds}
    return {variant: colours[variant.partition("-")[0]] for variant in data["variants"]}
