"""A heat map of a LoRA: how much it changes each module of each transformer block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..deltas import Delta
from ..experts import EXPERTS
from ..families.base import ModelSpec
from ..families.registry import family_of_targets
from ..media.figures import figure_image, fonts, save_figure
from .weights import LazyDeltas, LoraWeights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_OUTSIDE = "outside"


def draw_deltas(loras: Sequence[LoraWeights]) -> Figure:
    """Draw one heat map for each half of each LoRA into a new figure, all on one colour scale.

    A cell is the root mean square of the change at strength 1, so that modules of different sizes compare; DoRA, whose
    change depends on the base, is shown by its low-rank part.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    maps = [(title, _sizes(deltas)) for lora in loras for title, deltas in _halves(lora)]
    rows = max(len(modules) for _, (modules, _, _) in maps)
    figure = Figure(figsize=(10, 0.9 + len(maps) * (1.0 + 0.24 * rows)), dpi=120, layout="constrained")
    top = max((float(np.nanmax(cells)) for _, (_, _, cells) in maps if np.isfinite(cells).any()), default=0.0) or 1.0
    axes = figure.subplots(len(maps), 1, squeeze=False)[:, 0]
    with rc_context({"font.family": fonts()}):
        for ax, (title, sizes) in zip(axes, maps, strict=True):
            picture = _draw_map(ax, title, *sizes, top)
    figure.colorbar(picture, ax=list(axes), label="root mean square of the change", shrink=0.8)
    return figure


def delta_image(loras: Sequence[LoraWeights]) -> np.ndarray:
    """Draw the heat map of one or more LoRAs into an array (height, width, 3) of uint8."""
    return figure_image(draw_deltas(loras))


def save_delta_plot(loras: Sequence[LoraWeights], path: str | Path) -> Path:
    """Write the heat map of one or more LoRAs as .png, .svg or .pdf."""
    return save_figure(draw_deltas(loras), path)


def _halves(lora: LoraWeights) -> list[tuple[str, Mapping[str, Delta]]]:
    if lora.low_noise_deltas is None:
        return [(lora.name, lora.deltas)]
    return [(f"{lora.name}, {expert} expert", lora.for_expert(expert)) for expert in EXPERTS]


def _sizes(deltas: Mapping[str, Delta]) -> tuple[list[str], list[str], np.ndarray]:
    """Return (modules, blocks, root mean square of each change, NaN where nothing changes)."""
    each = deltas.stream() if isinstance(deltas, LazyDeltas) else deltas.items()
    family = family_of_targets(deltas)
    grammar = ModelSpec("any", "any model", {}) if family is None else family.grammar()
    sizes = {grammar.block_of(target) or (math.inf, target): _root_mean_square(delta) for target, delta in each}
    modules = list(dict.fromkeys(module for _, module in sizes))
    blocks = sorted({block for block, _ in sizes})
    cells = [[sizes.get((block, module), math.nan) for block in blocks] for module in modules]
    return modules, [_OUTSIDE if block == math.inf else str(block) for block in blocks], np.array(cells)


def _root_mean_square(delta: Delta) -> float:
    delta = getattr(delta, "inner", delta)
    return delta.norm() / math.sqrt(math.prod(delta.shape))


def _draw_map(ax: Axes, title: str, modules: list[str], blocks: list[str], cells: np.ndarray, top: float) -> AxesImage:
    picture = ax.imshow(cells, aspect="auto", cmap="magma_r", vmin=0, vmax=top, interpolation="nearest")
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", parse_math=False)
    ax.set_yticks(range(len(modules)), modules, fontsize=8)
    step = max(1, len(blocks) // 20)
    shown = [i for i, block in enumerate(blocks) if i % step == 0 or block == _OUTSIDE]
    ax.set_xticks(shown, [blocks[i] for i in shown], fontsize=8)
    ax.set_xlabel("block")
    ax.spines[:].set_visible(False)
    return picture
