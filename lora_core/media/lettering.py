"""Letters on pictures: a font that has the signs of a text, and lines that fit into a width."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from PIL import ImageFont

from .figures import fonts

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_ELLIPSIS = "…"


def font_for(text: str, size: int) -> Font:
    """Return a font in which as many signs of a text are as in any on the machine, in pixels."""
    paths = _font_files()
    path = max(paths, key=lambda path: len(_signs_of(path) & {*map(ord, text)}), default=None)
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def text_width(text: str, font: Font) -> int:
    """Return how wide a line is, in pixels."""
    return ceil(font.getlength(text))


def fitted_lines(text: str, font: Font, width: int, most: int) -> list[str]:
    """Break a text into at most so many lines of a width in pixels, between words where it can be; … ends what is cut.

    A break in the text stays one.
    """
    lines = [line for paragraph in text.split("\n") for line in _broken(paragraph, font, width)]
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and text_width(last + _ELLIPSIS, font) > width:
        last = last[:-1]
    return [*lines[: most - 1], last.rstrip() + _ELLIPSIS]


def _broken(text: str, font: Font, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        for part in _parts(word, font, width):
            longer = f"{line} {part}" if line and part == word else line + part if not line else ""
            if longer and text_width(longer, font) <= width:
                line = longer
            else:
                lines.append(line)
                line = part
    return [one for one in [*lines, line] if one] or [""]


def _parts(word: str, font: Font, width: int) -> list[str]:
    """Return a word, in parts where it is wider than a line: a path, or a language without spaces."""
    parts = []
    while text_width(word, font) > width and len(word) > 1:
        lengths = range(len(word) - 1, 1, -1)
        fits = next((count for count in lengths if text_width(word[:count], font) <= width), 1)
        joint = max(word.rfind(mark, 0, fits) for mark in "_-/.") + 1  # where a name is best broken
        cut = joint if joint > fits // 2 else fits
        parts.append(word[:cut])
        word = word[cut:]
    return [*parts, word]


@lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    """Return the font files to draw with, in the order in which they are taken."""
    from matplotlib.font_manager import FontProperties, findfont

    return tuple(findfont(FontProperties(family=name)) for name in fonts())


@lru_cache(maxsize=8)
def _signs_of(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())
