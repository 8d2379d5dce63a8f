"""What pictures drawn with matplotlib share here: fonts for names, arrays for hosts, messages.

Figures are drawn without pyplot, so that no window, backend or global state is touched.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..atomic import check_target, replacing
from ..checks import nearest
from ..errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Where a name needs them: fonts with Chinese, Japanese and Korean signs, taken if the machine has one.
_WIDE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "WenQuanYi Micro Hei")
_COLUMNS = 96
#: What a figure can be written as.
FORMATS = (".png", ".svg", ".pdf")


def figure_image(figure: Figure) -> np.ndarray:
    """Draw a figure into an array (height, width, 3) of uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with missing_glyphs_allowed():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as .png, .svg or .pdf, whole or not at all."""
    path = Path(path)
    check_figure(path)
    with replacing(path) as temporary, missing_glyphs_allowed():
        figure.savefig(temporary, format=path.suffix.lower()[1:])
    return path


def check_figure(path: str | Path) -> None:
    """Raise what `save_figure` would raise for this path, before anything is drawn."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            path,
            f"unknown picture format {suffix!r}",
            expected=nearest(suffix, FORMATS),
            remedy="Change the ending of the name",
        )
    check_target(path)


def message_image(message: str) -> np.ndarray:
    """Return a picture (height, width, 3) of uint8 that holds a message alone, where there is nothing to draw."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines = [line for paragraph in message.splitlines() for line in textwrap.wrap(paragraph, _COLUMNS) or [""]]
    with rc_context({"font.family": fonts()}):
        figure = Figure(figsize=(10, 0.6 + 0.22 * len(lines)), dpi=120, facecolor="white")
        figure.text(0.03, 0.5, "\n".join(lines), va="center", fontsize=11, linespacing=1.4, parse_math=False)
    return figure_image(figure)


def fonts() -> list[str]:
    """Return the font families to draw names with, in the order in which they are asked for a sign."""
    from matplotlib.font_manager import get_font_names

    present = set(get_font_names())
    return ["DejaVu Sans", *(font for font in _WIDE_FONTS if font in present)]


@contextmanager
def missing_glyphs_allowed() -> Iterator[None]:
    """Draw signs that no font on the machine has as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
