"""Panels of one figure: axes below or beside each other that share what is on the right, quietly dressed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

from .figures import fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID = "#222222", "#6b6b6b", "#00000018"


@contextmanager
def panels(num_panels: int, title: str, *, num_columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a figure with so many panels, row by row, and a title; what is drawn inside the block has its fonts."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    num_rows = ceil(num_panels / num_columns)
    with rc_context({"font.family": fonts(), "font.size": 10.0, "axes.edgecolor": QUIET}):
        figure = Figure(figsize=(10, 2.9 * num_rows + 0.8), dpi=100, facecolor="white", layout="constrained")
        axes = list(figure.subplots(num_rows, num_columns, sharex=True, squeeze=False).ravel())
        for place in range(num_panels, len(axes)):
            axes[place].remove()
            axes[place - num_columns].tick_params(labelbottom=True)  # nothing below it names the ticks
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
        yield figure, axes[:num_panels]


def dress(axes: Axes, up: str, right: str, *, whole_steps: bool = True, outer: bool = True) -> None:
    """Name the two directions of a panel, and take away what is no line of data.

    Args:
        axes: the panel.
        up: what the upward one is called.
        right: what the other one is called.
        whole_steps: whether what is on the right comes in whole numbers.
        outer: whether inner panels go without the names that the outer ones have.
    """
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(up, color=QUIET)
    axes.set_xlabel(right, color=QUIET)
    if outer:
        axes.label_outer()
    if whole_steps:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=QUIET, length=3)
