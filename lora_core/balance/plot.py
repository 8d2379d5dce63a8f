"""The conflict map: which LoRAs are aligned and which opposed, and how much each changes every block, per expert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..media.figures import fonts
from ..media.panels import INK, QUIET
from .expert_balance import ExpertBalance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .balance import StackBalance

_WIDTH = 13.0
_ROW = 0.36  # inches that one LoRA takes
_LEAST = 4  # rows that a panel is high at least
_MAX_NAME = 30
_MAX_BLOCKS = 20  # blocks named below a map
_OUTSIDE = "rest"
_BEFORE, _AFTER = "#b9c7d6", "#1f5a92"


def draw_balance(balance: StackBalance) -> Figure:
    """Draw a row of three panels for each expert, the LoRAs of all three in the same order, into a new figure.

    Left the alignment of every two (with a dry step: weights below the diagonal, outputs above it), in the middle the
    sizes block by block, right those over all layers, now and at the proposed strengths.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    experts = list(balance.experts.values())
    heights = [max(_LEAST, len(expert.loras)) * _ROW + 0.75 for expert in experts]
    with rc_context({"font.family": fonts(), "font.size": 9.5, "axes.edgecolor": QUIET}):
        figure = Figure(figsize=(_WIDTH, sum(heights) + 0.5), dpi=110, facecolor="white", layout="constrained")
        widest = max(len(expert.loras) for expert in experts)
        grid = figure.add_gridspec(
            len(experts), 3, height_ratios=heights, width_ratios=[max(3.2, 0.42 * widest), 4.6, 2.2]
        )
        for row, expert in enumerate(experts):
            panels = [figure.add_subplot(grid[row, column]) for column in range(3)]
            _draw_alignment(panels[0], expert)
            _draw_blocks(panels[1], expert, figure)
            _draw_sizes(panels[2], expert, balance)
        figure.suptitle(_title(balance), x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _draw_alignment(axes: Axes, expert: ExpertBalance) -> None:
    cosines = expert.alignment().numpy().copy()
    if expert.outputs is not None:
        upper = np.triu_indices(len(cosines), 1)
        cosines[upper] = expert.alignment(expert.outputs.gram).numpy()[upper]
    np.fill_diagonal(cosines, np.nan)
    axes.set_facecolor("#eeeeee")
    axes.imshow(cosines, cmap="PuOr", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    for (row, column), cosine in np.ndenumerate(cosines):
        if not np.isnan(cosine):
            ink = "white" if abs(cosine) > 0.6 else INK
            axes.text(column, row, _cosine(cosine), ha="center", va="center", fontsize=8, color=ink)
    names = [f"{_short(name)}  {place}" for place, name in enumerate(expert.names, start=1)]
    _rows(axes, names)
    axes.set_xticks(range(len(names)), [str(place) for place in range(1, len(names) + 1)])
    _dress(axes, _heading(expert, "alignment: weights" if expert.outputs is None else "weights \\ outputs"))


def _draw_blocks(axes: Axes, expert: ExpertBalance, figure: Figure) -> None:
    sizes = expert.block_sizes().numpy().copy()
    sizes[sizes == 0] = np.nan
    axes.set_facecolor("#eeeeee")
    top = float(np.nanmax(sizes)) if np.isfinite(sizes).any() else 1.0
    picture = axes.imshow(sizes, cmap="magma_r", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    blocks = [_OUTSIDE if block is None else str(block) for block in expert.blocks]
    step = -(-len(blocks) // _MAX_BLOCKS)
    shown = [place for place, block in enumerate(blocks) if place % step == 0 or block == _OUTSIDE]
    axes.set_xticks(shown, [blocks[place] for place in shown])
    _rows(axes, [str(place) for place in range(1, len(expert.loras) + 1)])
    _dress(axes, "size by block" if expert.has_base else "root mean square by block")
    figure.colorbar(picture, ax=axes, pad=0.01, fraction=0.04).outline.set_visible(False)


def _draw_sizes(axes: Axes, expert: ExpertBalance, balance: StackBalance) -> None:
    """Draw a bar for each LoRA at its strength, and over it one at the proposed strength."""
    after = {row.name: row.after for row in balance.proposal.strengths if row.expert == expert.expert}
    factors = [after.get(lora.name, lora.strength) / lora.strength if lora.strength else 1.0 for lora in expert.loras]
    now = expert.weights.sizes(expert.strengths).numpy()
    places = np.arange(len(now))
    axes.barh(places, now, height=0.72, color=_BEFORE)
    axes.barh(places, now * factors, height=0.36, color=_AFTER)
    for place, (lora, factor) in enumerate(zip(expert.loras, factors, strict=True)):
        text = f"{lora.strength:.3g}" if factor == 1 else f"{lora.strength:.3g} → {lora.strength * factor:.3g}"
        axes.annotate(text, (now[place], place), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    axes.set_xlim(0, float(now.max() or 1.0) * 1.45)
    axes.set_ylim(len(now) - 0.5, -0.5)
    _rows(axes, [str(place) for place in range(1, len(now) + 1)])
    _dress(axes, "size and strength")


def _rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, length=0)


def _heading(expert: ExpertBalance, what: str) -> str:
    return what if expert.is_single else f"{expert.expert.replace('_', '-')} expert, {what}"


def _title(balance: StackBalance) -> str:
    num = len(balance.findings)
    told = {0: "nothing is wrong between them", 1: "1 finding"}.get(num, f"{num} findings")
    count = len(balance.loaded.loras)
    return f"{balance.loaded.spec.title}: {count} LoRA{'s' if count > 1 else ''}, {told}"


def _cosine(cosine: Any) -> str:
    text = f"{cosine:+.2f}"
    return "0" if text[1:] == "0.00" else text.replace("1.00", "1")


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _MAX_NAME else f"{line[: _MAX_NAME // 2 - 1]}…{line[-_MAX_NAME // 2 :]}"
