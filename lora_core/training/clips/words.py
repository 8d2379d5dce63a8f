"""The words of a text file as people write them: UTF-8 or UTF-16 by its mark, else what Windows wrote."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from ...checks import MAX_TEXT_LENGTH, first_line
from ...errors import DatasetError
from ...wording import said

#: How a file begins that says its encoding itself; the longest marks first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Captions and rows of a hundred thousand clips are below this.
MAX_BYTES = 64 * MAX_TEXT_LENGTH


@dataclass(frozen=True)
class Words:
    """What a text file says.

    Attributes:
        text: its text.
        recovered: whether it was no Unicode and read as Windows-1252, which may have got some letters wrong.
    """

    text: str
    recovered: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """Return its lines, without the spaces around them; empty ones at the end do not count."""
        lines = [line.strip() for line in re.split(r"\r\n|\r|\n", self.text)]
        while lines and not lines[-1]:
            lines.pop()
        return tuple(lines)


def read_words(path: Path, where: str) -> Words:
    """Read a text file; raise where it is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(
                where,
                said("{st_size:,} bytes of text", st_size=path.stat().st_size),
                expected=said("at most {most:,}", most=MAX_BYTES),
                remedy="Shorten it",
            )
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            where, said("cannot be read: {error}", error=error.strerror), remedy="Allow it, or remove it"
        ) from error
    return decoded(data, where)


def decoded(data: bytes, where: str) -> Words:
    """Return the words that bytes stand for."""
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    try:
        if marked is None and b"\0" in data:
            raise ValueError("it holds zero bytes")
        return Words(data.decode(marked or "utf-8"))
    except UnicodeDecodeError as error:
        return _recovered(data, where, error) if marked is None else _refused(where, error)
    except ValueError as error:
        return _refused(where, error)


def _recovered(data: bytes, where: str, fault: UnicodeDecodeError) -> Words:
    try:
        return Words(data.decode("cp1252"), recovered=True)
    except UnicodeDecodeError:
        return _refused(where, fault)


def _refused(where: str, fault: ValueError) -> Words:
    raise DatasetError(
        where, said("is no text: {fault}", fault=first_line(fault)), expected="UTF-8", remedy="Save it as UTF-8"
    ) from fault
