"""A mosaic: clips in rows and columns that play together, with titles above and beside them.

Letters: T frames, H W pixels. Frames are (T, H, W, 3) uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from .lettering import fitted_lines, font_for, text_width

_PAPER, _INK, _GREY, _EMPTY = (250, 250, 248), (24, 24, 27), (120, 120, 128), (232, 232, 230)
_GAP, _MARGIN = 6, 16
_TITLE, _AXIS, _LABEL = 20, 14, 16
#: A label of a row is at most this wide, and one of a column so many lines high.
_ROW_WIDTH, _NUM_LINES = 220, 4
#: About how large a mosaic is: what most screens show.
_SCREEN = (1920, 1080)


@dataclass(frozen=True)
class Titles:
    """What is written on a mosaic.

    Attributes:
        heading: above all of it; what follows a line break is small.
        columns, rows: of each column and row; a row without a label has "".
        of_columns, of_rows: what columns and rows are.
    """

    heading: str
    columns: Sequence[str]
    rows: Sequence[str]
    of_columns: str = ""
    of_rows: str = ""


#: (row, column) -> frames (T, H, W, 3) uint8, or None where there is no clip yet.
Tile = Callable[[int, int], "np.ndarray | None"]


def mosaic_frames(tile: Tile, titles: Titles, size: tuple[int, int], num_frames: int) -> np.ndarray:
    """Return the frames of a mosaic, every clip from its beginning; one that is shorter stands still at its end.

    Args:
        tile: gives the clips, asked for one after another.
        titles: what is written on it.
        size: height and width of each clip, in pixels.
        num_frames: how long it is.
    """
    layout = _Layout.of(titles, _shown_size(size, titles))
    frames = np.repeat(np.asarray(layout.draw(titles))[None], num_frames, axis=0)
    for row, column in np.ndindex(len(titles.rows), len(titles.columns)):
        if (clip := tile(row, column)) is not None:
            y, x = layout.place(row, column)
            for index in range(num_frames):
                shown = _resized(clip[min(index, len(clip) - 1)], layout.cell)
                frames[index, y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    return frames


def mosaic_picture(tile: Tile, titles: Titles, size: tuple[int, int], *, num_stills: int = 3) -> Image.Image:
    """Return a picture of a mosaic, of each clip some frames beside each other from its first to its last."""
    height, width = _shown_size((size[0], size[1] * num_stills), titles)
    still = (height, max(1, (width - 2 * (num_stills - 1)) // num_stills))
    layout = _Layout.of(titles, (height, num_stills * (still[1] + 2) - 2))
    picture = layout.draw(titles)
    for row, column in np.ndindex(len(titles.rows), len(titles.columns)):
        if (clip := tile(row, column)) is not None:
            y, x = layout.place(row, column)
            for place, index in enumerate(np.rint(np.linspace(0, len(clip) - 1, num_stills)).astype(int)):
                shown = Image.fromarray(_resized(clip[index], still))
                picture.paste(shown, (x + place * (still[1] + 2), y))
    return picture


def _shown_size(size: tuple[int, int], titles: Titles) -> tuple[int, int]:
    """Return how large a clip is drawn: whole pixels enlarged, or as small as it takes for all to fit a screen."""
    num_rows, num_columns = len(titles.rows), len(titles.columns)
    room = (_SCREEN[0] - _ROW_WIDTH) / num_columns - _GAP, (_SCREEN[1] - 120) / num_rows - _GAP
    scale = min(room[0] / size[1], room[1] / size[0])
    scale = min(int(scale), max(1, ceil(192 / size[0]))) if scale >= 1 else max(scale, 48 / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a frame (H, W, 3) of another size; enlarged in hard pixels, shrunk smoothly."""
    if frame.shape[:2] == size:
        return frame
    how = Image.Resampling.NEAREST if size[0] >= frame.shape[0] else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), how))


@dataclass(frozen=True)
class _Layout:
    """Where everything of a mosaic stands, in pixels.

    Attributes:
        cell: height and width of a clip.
        top, left: of the first clip.
        size: height and width of all, even.
    """

    cell: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]

    @classmethod
    def of(cls, titles: Titles, cell: tuple[int, int]) -> _Layout:
        lines = [line for row in titles.rows for line in _row_lines(row)]
        widest = max((text_width(line, font_for(line, _LABEL)) for line in lines), default=0)
        of_rows = text_width(titles.of_rows, font_for(titles.of_rows, _AXIS)) if titles.of_rows else 0
        left = _MARGIN + (max(widest, min(of_rows, _ROW_WIDTH)) + 12 if widest or of_rows else 0)
        width = left + len(titles.columns) * (cell[1] + _GAP) - _GAP + _MARGIN
        num_lines = max(len(_column_lines(label, cell[1])) for label in titles.columns)
        top = _heading_height(titles, width) + (_AXIS + 8 if titles.of_columns else 0) + num_lines * (_LABEL + 4) + 6
        height = top + len(titles.rows) * (cell[0] + _GAP) - _GAP + _MARGIN
        return cls(cell, top, left, (height + height % 2, width + width % 2))

    def place(self, row: int, column: int) -> tuple[int, int]:
        """Return top and left of a clip."""
        return self.top + row * (self.cell[0] + _GAP), self.left + column * (self.cell[1] + _GAP)

    def draw(self, titles: Titles) -> Image.Image:
        """Return the picture without its clips."""
        picture = Image.new("RGB", (self.size[1], self.size[0]), _PAPER)
        draw = ImageDraw.Draw(picture)
        y = _MARGIN
        for line, size, colour in _heading_lines(titles, self.size[1]):
            draw.text((_MARGIN, y), line, colour, font_for(line, size))
            y += size + 6
        if titles.of_columns:
            draw.text((self.left, y), titles.of_columns, _GREY, font_for(titles.of_columns, _AXIS))
        for column, label in enumerate(titles.columns):
            self._write_column(draw, column, label)
        for row, label in enumerate(titles.rows):
            self._write_row(draw, row, label)
        for number, line in enumerate(reversed(_axis_lines(titles.of_rows, self.left - _MARGIN - 6)), 1):
            draw.text((_MARGIN, self.top - 4 - number * (_AXIS + 4)), line, _GREY, font_for(line, _AXIS))
        return picture

    def _write_column(self, draw: ImageDraw.ImageDraw, column: int, label: str) -> None:
        lines = _column_lines(label, self.cell[1])
        _, x = self.place(0, column)
        for number, line in enumerate(reversed(lines), 1):
            y = self.top - 4 - number * (_LABEL + 4)
            draw.text((x + self.cell[1] // 2, y), line, _INK, font_for(line, _LABEL), anchor="ma")

    def _write_row(self, draw: ImageDraw.ImageDraw, row: int, label: str) -> None:
        lines = _row_lines(label)
        y = self.place(row, 0)[0] + (self.cell[0] - len(lines) * (_LABEL + 4)) // 2
        for number, line in enumerate(lines):
            draw.text((_MARGIN, y + number * (_LABEL + 4)), line, _INK, font_for(line, _LABEL))
        for column in range((self.size[1] - self.left) // (self.cell[1] + _GAP)):
            top, left = self.place(row, column)
            draw.rectangle((left, top, left + self.cell[1] - 1, top + self.cell[0] - 1), _EMPTY)


def _axis_lines(title: str, width: int) -> list[str]:
    """Return the lines of the axis of rows: two at most, for which the axis of columns and its labels leave room."""
    return fitted_lines(title, font_for(title, _AXIS), width, 2) if title else []


def _column_lines(label: str, width: int) -> list[str]:
    return fitted_lines(label, font_for(label, _LABEL), width, _NUM_LINES)


def _row_lines(label: str) -> list[str]:
    return fitted_lines(label, font_for(label, _LABEL), _ROW_WIDTH, _NUM_LINES + 2) if label else []


def _heading_lines(titles: Titles, width: int) -> list[tuple[str, int, tuple[int, int, int]]]:
    """Return text, size and colour of each line above the columns."""
    if not titles.heading:
        return []
    first, _, rest = titles.heading.partition("\n")
    room = width - 2 * _MARGIN
    large = [(line, _TITLE, _INK) for line in fitted_lines(first, font_for(first, _TITLE), room, 2)]
    small = fitted_lines(rest, font_for(rest, _AXIS), room, 3) if rest else []
    return [*large, *((line, _AXIS, _GREY) for line in small)]


def _heading_height(titles: Titles, width: int) -> int:
    return _MARGIN + sum(size + 6 for _, size, _ in _heading_lines(titles, width))
