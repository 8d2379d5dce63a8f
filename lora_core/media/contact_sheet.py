"""A contact sheet: clips as rows of frames with labels, to see at a glance what each of them shows.

Letters: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..atomic import replacing
from ..checks import typed
from ..errors import OutputError
from .video import check_frames

_PAPER, _INK, _GREY = (250, 250, 248), (24, 24, 27), (120, 120, 128)
_GAP, _MARGIN = 6, 20


@dataclass(frozen=True)
class _Strip:
    """What is drawn of one clip: some of its frames, as large as they are drawn, and which of how many they are."""

    frames: tuple[Image.Image, ...]
    indices: tuple[int, ...]
    num_frames: int


@typed(OutputError)
def contact_sheet(
    rows: Iterable[np.ndarray],
    labels: Sequence[str],
    path: str | Path,
    *,
    title: str = "",
    num_columns: int = 6,
    cell: int = 128,
) -> Path:
    """Draw one row per clip, its frames evenly chosen from first to last, and save the picture as PNG.

    Args:
        rows: clips (T, H, W, 3) uint8; lengths and sizes may differ. Of each no more is kept than is drawn.
        labels: one per row; what follows a line break is set smaller and grey.
        path: the .png to write.
        title: a heading above the rows.
        num_columns: how many frames of each clip.
        cell: the height of a frame on the sheet, in pixels; small frames are enlarged without smoothing.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(
            path,
            f"cannot write a contact sheet as {path.suffix!r}",
            expected=".png",
            remedy="Change the ending of the name",
        )
    strips = [_strip(frames, path, num_columns, cell) for frames in rows]
    if not strips or len(strips) != len(labels):
        raise OutputError(
            path,
            f"has {len(labels)} labels for {len(strips)} clips",
            expected="one label per clip",
            remedy="Give one for each",
        )
    sheet = _draw_sheet(strips, labels, title, num_columns, cell)
    with replacing(path) as temporary:
        sheet.save(temporary)
    return path


def _strip(frames: np.ndarray, path: Path, num_columns: int, cell: int) -> _Strip:
    check_frames(frames, path)
    indices = _spread(len(frames), num_columns)
    return _Strip(tuple(_scaled(frames[index], cell) for index in indices), tuple(indices), len(frames))


def _draw_sheet(
    strips: Sequence[_Strip], labels: Sequence[str], title: str, num_columns: int, cell: int
) -> Image.Image:
    cell_width = max(strip.frames[0].width for strip in strips)
    left = 2 * _MARGIN + max(_label_width(label) for label in labels)
    top = _MARGIN + (40 if title else 0) + 22
    width = left + num_columns * (cell_width + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, top + len(strips) * (cell + _GAP) - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(22))
    same_length = len({strip.num_frames for strip in strips}) == 1
    for column, index in enumerate(strips[0].indices if same_length else ()):
        centre = left + column * (cell_width + _GAP) + cell_width // 2
        draw.text((centre, top - 6), f"frame {index}", _GREY, ImageFont.load_default(13), anchor="ms")
    for row, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        y = top + row * (cell + _GAP)
        _draw_label(draw, label, y + cell // 2)
        for column, frame in enumerate(strip.frames):
            x = left + column * (cell_width + _GAP) + (cell_width - frame.width) // 2
            sheet.paste(frame, (x, y + (cell - frame.height) // 2))
    return sheet


def _label_lines(label: str) -> Iterator[tuple[str, int, tuple[int, int, int]]]:
    """Yield text, size and colour of each line: the first large, the others small and grey."""
    first, *rest = label.split("\n")
    yield first, 17, _INK
    yield from ((line, 13, _GREY) for line in rest)


def _label_width(label: str) -> int:
    return max(ceil(ImageFont.load_default(size).getlength(text)) for text, size, _ in _label_lines(label))


def _draw_label(draw: ImageDraw.ImageDraw, label: str, middle: int) -> None:
    y = middle - sum(size + 5 for _, size, _ in _label_lines(label)) / 2
    for text, size, colour in _label_lines(label):
        draw.text((_MARGIN, y), text, colour, ImageFont.load_default(size))
        y += size + 5


def _spread(num_frames: int, num_columns: int) -> list[int]:
    """Choose `num_columns` indices evenly from the first to the last of `num_frames`."""
    return np.rint(np.linspace(0, num_frames - 1, num_columns)).astype(int).tolist()


def _scaled(frame: np.ndarray, height: int) -> Image.Image:
    """Scale a frame (H, W, 3) to a height; enlarge in hard pixels, shrink smoothly."""
    factor = height / frame.shape[0]
    size = (max(1, round(frame.shape[1] * factor)), height)
    return Image.fromarray(frame).resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS)
