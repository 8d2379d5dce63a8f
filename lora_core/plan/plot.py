"""A plan as a picture: noise levels, the experts' spans, one line per LoRA's strength, and those over time apart.

Drawn into figures of their own, without pyplot, so that no window, backend or global state is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import number_text
from ..media.figures import figure_image, fonts, save_figure
from .time_plot import curve_over_time, timed_loras

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .plan import SamplingPlan

_INK, _QUIET, _GRID = "#222222", "#6b6b6b", "#00000018"
_BANDS = {"high_noise": ("#fbe6cf", "#9a5a12"), "low_noise": ("#dbe9f6", "#1f5a92")}
#: Okabe and Ito's colours for eight kinds of colour vision, those that are legible on the bands.
_LINES = ("#0072b2", "#d55e00", "#007a5a", "#a8428b", "#000000", "#8a6d00", "#3b3bb3", "#7a1f1f")
_MAX_NAME = 30
_MAX_LABELLED_STEPS = 16
_SLOT = 2.4  # points between lines that would lie on each other
_ROW = 0.21  # inches that one LoRA's label takes
_LABEL_HEIGHT = 0.12  # in sigmas


def draw_plan(plan: SamplingPlan, *, width: float = 10.0) -> Figure:
    """Draw a plan into a new figure, `width` inches wide and as high as its LoRAs need."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    num_lines = len(_lines(plan))
    heights = [2.6, max(1.7, _ROW * num_lines + 0.4)] if num_lines else [3.0]
    steps, timed = len(heights), timed_loras(plan)
    if timed:
        heights.append(max(1.4, _ROW * len(timed) + 0.4))
    with rc_context({"font.family": fonts(), "font.size": 10.0, "axes.edgecolor": _QUIET}):
        figure = Figure(figsize=(width, sum(heights) + 1.15), dpi=120, facecolor="white", layout="constrained")
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        levels = figure.add_subplot(grid[0])
        _draw_levels(levels, plan)
        if num_lines:
            strengths = figure.add_subplot(grid[1], sharex=levels)
            _draw_strengths(strengths, plan, heights[1])
            levels.tick_params(labelbottom=False)
        lowest = figure.axes[steps - 1]
        lowest.set_xlabel("step", color=_QUIET)
        _set_steps(lowest, plan)
        if timed:
            _draw_times(figure.add_subplot(grid[-1]), plan, heights[-1])
        figure.suptitle(_title(plan), x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    return figure


def plan_image(plan: SamplingPlan, *, width: float = 10.0) -> np.ndarray:
    """Draw a plan into an array (height, width, 3) of uint8."""
    return figure_image(draw_plan(plan, width=width))


def save_plan(plan: SamplingPlan, path: str | Path) -> Path:
    """Draw a plan into a file, whole or not at all."""
    return save_figure(draw_plan(plan), path)


def _draw_levels(axes: Axes, plan: SamplingPlan) -> None:
    """Draw each step's sigma as a stair over the experts' bands, with the boundary between them."""
    edges = np.arange(plan.num_steps + 1)
    levels = [step.sigma for step in plan.steps]
    _draw_bands(axes, plan, labelled=True)
    axes.stairs(levels, edges, color=_INK, linewidth=1.8, baseline=None)
    axes.plot([edges[-1]] * 2, [levels[-1], plan.sigmas[-1]], color=_INK, linewidth=1.8)
    if plan.num_steps <= _MAX_LABELLED_STEPS:
        digits = 3 if plan.num_steps <= 10 else 2
        for edge, level in zip(edges, levels, strict=False):
            # Right below the boundary a number above its stair would be crossed by the dashed line.
            below = plan.boundary is not None and 0 < plan.boundary - level < _LABEL_HEIGHT
            place, side = ((0, -4), "top") if below else ((0, 3), "bottom")
            _note(axes, f"{level:.{digits}f}", (edge + 0.5, level), place, color=_INK, ha="center", va=side)
    if plan.boundary is not None:
        axes.axhline(plan.boundary, color=_QUIET, linewidth=1.0, linestyle=(0, (4, 3)))
        text = f"boundary\n{number_text(plan.boundary)}"
        _note(axes, text, (plan.num_steps, plan.boundary), (6, 0), color=_QUIET, ha="left", va="center")
    axes.set_ylim(0, 1.28)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    _dress(axes, "noise level (sigma)")


def _draw_strengths(axes: Axes, plan: SamplingPlan, height: float) -> None:
    """Draw each LoRA's strength, held over its steps, with its name at the right."""
    _draw_bands(axes, plan, labelled=False)
    columns = [strengths for _, strengths in _lines(plan)]
    slots = _slots(columns)
    ends = [_draw_line(axes, column, slots[i], _style(i)) for i, column in enumerate(columns)]
    values = [value for column in columns for value in column if value is not None]
    low, high = min(0.0, *values), max(1.0, *values)
    margin = 0.12 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.axhline(0, color=_QUIET, linewidth=0.8)
    _dress(axes, "LoRA strength")
    labels = [(label, _style(i)) for i, (label, _) in enumerate(_lines(plan))]
    _label_ends(axes, labels, ends, height, plan.num_steps)


def _draw_times(axes: Axes, plan: SamplingPlan, height: float) -> None:
    """Draw the factor of each LoRA that has one over the seconds of the clip, in the colour of its strength."""
    labels = [label for label, _ in _lines(plan)]
    loras = timed_loras(plan)
    styles = [_style(plan.names.index(lora.name)) for lora in loras]
    ends = []
    for lora, style in zip(loras, styles, strict=True):
        seconds, factors = curve_over_time(lora, plan)
        axes.plot(seconds, factors, linewidth=2.2, **style)
        ends.append((seconds[-1], factors[-1]))
    low, high = min(0.0, axes.get_ylim()[0]), max(1.0, axes.get_ylim()[1])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes.set_xlim(0, plan.num_frames / plan.fps)
    axes.axhline(0, color=_QUIET, linewidth=0.8)
    _dress(axes, "over time")
    axes.set_xlabel("seconds of the clip", color=_QUIET)
    named = [labels[plan.names.index(lora.name)] for lora in loras]
    _label_ends(axes, list(zip(named, styles, strict=True)), ends, height, plan.num_frames / plan.fps)


def _draw_line(axes: Axes, strengths: Sequence[float | None], slot: int, style: Mapping[str, Any]) -> tuple[int, float]:
    """Draw one LoRA's strength and return where it ends: (edge of its last step, strength there)."""
    from matplotlib.transforms import ScaledTranslation

    points = _SLOT * ((slot + 1) // 2) * (-1) ** (slot + 1)  # 0, up, down, further up, ...
    moved = axes.transData + ScaledTranslation(0, points / 72, axes.figure.dpi_scale_trans)
    end = (0, 0.0)
    for acting, run in groupby(enumerate(strengths), key=lambda item: item[1] is not None):
        if acting:
            steps, heights = zip(*((i, value) for i, value in run if value is not None), strict=True)
            end = (steps[-1] + 1, heights[-1])
            edges = np.arange(steps[0], end[0] + 1)
            axes.stairs(heights, edges, linewidth=2.2, baseline=None, transform=moved, **style)
    return end


def _slots(columns: Sequence[Sequence[float | None]]) -> list[int]:
    """Return, for each line, the lowest number that no line running on top of it has: lines of one slot never touch."""
    slots: list[int] = []
    for i, column in enumerate(columns):
        touched = {
            slots[j] for j in range(i) if any(a is not None and a == b for a, b in zip(column, columns[j], strict=True))
        }
        slots.append(next(slot for slot in range(i + 1) if slot not in touched))
    return slots


def _label_ends(
    axes: Axes,
    lines: Sequence[tuple[str, Mapping[str, str]]],
    ends: Sequence[tuple[float, float]],
    height: float,
    width: float,
) -> None:
    """Write each name, in the style of its line, beside its end, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    wanted = [value for _, value in ends]
    places = _spread(wanted, low, high, (high - low) * _ROW / height)
    right = width * 1.015
    for (label, style), end, place in zip(lines, ends, places, strict=True):
        color = style["color"]
        leader = {"arrowstyle": "-", "color": color, "linewidth": 0.9, "linestyle": ":", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, (right, place), arrowprops=leader, annotation_clip=False)
        _note(axes, label, (right, place), (3, 0), color=color, ha="left", va="center", weight="bold")


def _lines(plan: SamplingPlan) -> list[tuple[str, Sequence[float | None]]]:
    """Return (label, strength at each step) of all that has a line: the LoRAs, and how much a guide steers."""
    lines = [(_short(name) + _where(plan, name), plan.strengths_of(name)) for name in plan.names]
    steering = plan.steering
    return [*lines, *([] if steering is None else [(f"steered by {_short(steering.plan.model)}", steering.strengths)])]


def _where(plan: SamplingPlan, name: str) -> str:
    """Say which expert alone a LoRA is on, where the model has two."""
    experts = {lora.expert for lora in plan.route.all if lora.name == name}
    return f" ({experts.pop().removesuffix('_noise')} only)" if plan.boundary is not None and len(experts) == 1 else ""


def _style(i: int) -> dict[str, str]:
    """Return colour and dashes of the i-th line; colours come again dashed."""
    return {"color": _LINES[i % len(_LINES)], "linestyle": ("-", "--", ":")[i // len(_LINES) % 3]}


def _spread(wanted: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Return places as near to the wanted ones as it goes, at least `gap` apart and inside (low, high)."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    gap = min(gap, (high - low) / max(len(wanted), 1))
    places = list(wanted)
    floor = low + gap / 2
    for i in order:
        places[i] = floor = max(wanted[i], floor)
        floor += gap
    ceiling = high - gap / 2
    for i in reversed(order):
        places[i] = ceiling = min(places[i], ceiling)
        ceiling -= gap
    return places


def _draw_bands(axes: Axes, plan: SamplingPlan, *, labelled: bool) -> None:
    """Colour the span of each expert."""
    start = 0
    for expert, run in groupby(plan.steps, key=lambda step: step.expert):
        steps = list(run)
        background, ink = _BANDS[expert]
        axes.axvspan(start, start + len(steps), color=background, zorder=0, linewidth=0)
        if labelled:
            title = "one expert" if plan.boundary is None else f"{expert.replace('_', '-')} expert"
            count = f"{len(steps)} step{'s' if len(steps) > 1 else ''}"
            lines = [title, f"{count}, cfg {steps[0].cfg:.3g}"]
            text = "\n".join(lines) if len(steps) < plan.num_steps / 2.4 else " · ".join(lines)
            middle = start + len(steps) / 2
            axes.text(middle, 0.975, text, transform=axes.get_xaxis_transform(), color=ink, ha="center", va="top")
        start += len(steps)


def _dress(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, color=_QUIET)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_QUIET, length=3)


def _set_steps(axes: Axes, plan: SamplingPlan) -> None:
    """Number the steps in their middles; of many, every so many."""
    stride = -(-plan.num_steps // 20)
    shown = range(0, plan.num_steps, stride)
    axes.set_xlim(0, plan.num_steps)
    axes.set_xticks([i + 0.5 for i in shown], [str(plan.steps[i].index + 1) for i in shown])


def _note(axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write text at a place in the data, moved by `offset` points; names are never read as formulas."""
    axes.annotate(text, at, offset, textcoords="offset points", annotation_clip=False, parse_math=False, **style)


def _title(plan: SamplingPlan) -> str:
    shift = str(plan.levels)
    return f"{plan.model}: {plan.num_steps} step{'s' if plan.num_steps > 1 else ''}, {shift}"


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _MAX_NAME else f"{line[: _MAX_NAME // 2 - 1]}…{line[-_MAX_NAME // 2 :]}"
