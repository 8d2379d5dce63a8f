"""A contact sheet: clips as rows of frames with labels, to see at a glance what each of them shows.

Letters: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@typed(OutputError)
def contact_sheet(
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    path: str | Path,
    *,
    title: str = "",
    num_columns: int = 6,
    cell: int = 128,
) -> Path:
    """Draw one row per clip, its frames evenly chosen from first to last, and save the picture as PNG.

    Args:
        rows: clips (T, H, W, 3) uint8; lengths and sizes may differ.
        labels: one per row; what follows a line break is set smaller and grey.
        path: the .png to write.
        title: a heading above the rows.
        num_columns: how many frames of each clip.
        cell: the height of a frame on the sheet, in pixels; small frames are enlarged without smoothing.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(path, f"cannot write a contact sheet as {path.suffix!r}", expected=".png")
    if not rows or len(rows) != len(labels):
        raise OutputError(path, f"has {len(labels)} labels for {len(rows)} clips", expected="one label per clip")
    for frames in rows:
        check_frames(frames, path)
    sheet = _draw_sheet(rows, labels, title, num_columns, cell)
    with replacing(path) as temporary:
        sheet.save(temporary)
    return path


def _draw_sheet(
    rows: Sequence[np.ndarray], labels: Sequence[str], title: str, num_columns: int, cell: int
) -> Image.Image:
    cell_width = max(round(cell * frames.shape[2] / frames.shape[1]) for frames in rows)
    left = 2 * _MARGIN + max(_label_width(label) for label in labels)
    top = _MARGIN + (40 if title else 0) + 22
    width = left + num_columns * (cell_width + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, top + len(rows) * (cell + _GAP) - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(22))
    same_length = len({len(frames) for frames in rows}) == 1
    for column, index in enumerate(_spread(len(rows[0]), num_columns) if same_length else []):
        centre = left + column * (cell_width + _GAP) + cell_width // 2
        draw.text((centre, top - 6), f"frame {index}", _GREY, ImageFont.load_default(13), anchor="ms")
    for row, (frames, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + row * (cell + _GAP)
        _draw_label(draw, label, y + cell // 2)
        for column, index in enumerate(_spread(len(frames), num_columns)):
            sheet.paste(_fit(frames[index], cell_width, cell), (left + column * (cell_width + _GAP), y))
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


def _fit(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """Scale a frame (H, W, 3) to fit the box, centred on paper; enlarge in hard pixels, shrink smoothly."""
    factor = min(height / frame.shape[0], width / frame.shape[1])
    size = (max(1, round(frame.shape[1] * factor)), max(1, round(frame.shape[0] * factor)))
    scaled = Image.fromarray(frame).resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS)
    box = Image.new("RGB", (width, height), _PAPER)
    box.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return box
