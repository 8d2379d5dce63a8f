"""The reading of rows from a file of JSON lines: every fault of the file is found before one error tells of all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...checks import counted, first_few, nearest, shown
from ...errors import DatasetError
from ...wording import Said, said
from .row import Row, Turn

ROLES = ("system", "user", "assistant")
#: What a row may say beside its conversation.
_BESIDE = ("kind", "language", "protected")
_FORMS = ("prompt", "completion", "messages")
#: What a line holds.
EXPECTED = '{"prompt": …, "completion": …} or {"messages": […]}'
_NUM_SHOWN = 8


@dataclass(frozen=True)
class Fault:
    """What is wrong in a line, from 1."""

    line: int
    what: Said


@dataclass(frozen=True)
class RowsFile:
    """What was read of a file.

    Attributes:
        faults: of lines that are no rows; they are not among `rows`.
        notes: what is good to know of the file, such as keys that nothing reads.
    """

    path: Path
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[Said, ...] = ()

    def check(self) -> None:
        """Raise where any line is no row, or there is no row at all."""
        if self.faults:
            told = [said("line {line} {what}", line=fault.line, what=fault.what) for fault in self.faults]
            what = first_few(told, _NUM_SHOWN, between="; ")
            raise DatasetError(self.path, what, expected=EXPECTED, remedy="Correct these lines")
        if not self.rows:
            raise DatasetError(self.path, "holds no row", expected=EXPECTED, remedy="Give a file with rows")


def read_rows(path: str | Path) -> tuple[Row, ...]:
    """Return the rows of a file.

    Raises:
        DatasetError: it cannot be read, or lines of it are no rows; all of them are named.
    """
    file = read_rows_file(path)
    file.check()
    return file.rows


def read_rows_file(path: str | Path) -> RowsFile:
    """Read a file of rows, as far as it holds any.

    Raises:
        DatasetError: it cannot be read at all.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        what = said("cannot be read: {error}", error=error.strerror or error)
        raise DatasetError(path, what, expected="a file of JSON lines", remedy="Check the path") from error
    rows: list[Row] = []
    faults: list[Fault] = []
    unread: Counter[str] = Counter()
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(_row(line, number, unread))
            except _NoRowError as fault:
                faults.append(Fault(number, fault.what))
    return RowsFile(path, tuple(rows), tuple(faults), tuple(_notes(content, unread)))


class _NoRowError(Exception):
    """A line that is no row."""

    def __init__(self, what: Said) -> None:
        super().__init__(what)
        self.what = what


def _notes(content: bytes, unread: Counter[str]) -> Iterator[Said]:
    if content.startswith(b"\xef\xbb\xbf"):
        yield said("begins with a byte order mark, which is left out")
    if b"\r\n" in content:
        yield said("has line ends of Windows, which are read as others")
    for key, count in unread.items():
        yield said("the key {key!r:.60} is not read, in {rows}", key=key, rows=counted(count, "row"))


def _row(line: bytes, number: int, unread: Counter[str]) -> Row:
    told = _object(line)
    unread.update(key for key in told if key not in (*_FORMS, *_BESIDE))
    turns = _turns(told)
    _check(turns)
    return Row(turns, number, _text(told, "kind"), _text(told, "language"), _texts(told, "protected"))


def _text(told: dict[str, object], key: str) -> str:
    value = told.get(key) or ""
    if not isinstance(value, str):
        raise _NoRowError(said("has a {key} that is no text", key=key))
    return value


def _texts(told: dict[str, object], key: str) -> tuple[str, ...]:
    values = told.get(key) or []
    if not isinstance(values, list) or not all(isinstance(word, str) for word in values):
        raise _NoRowError(said("has a {key} that is no list of texts", key=key))
    return tuple(values)


def _object(line: bytes) -> dict[str, object]:
    try:
        told = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _NoRowError(said("is no UTF-8, at its byte {place}", place=error.start + 1)) from error
    except (ValueError, RecursionError) as error:
        raise _NoRowError(said("is no JSON")) from error
    if not isinstance(told, dict):
        raise _NoRowError(said("is no object"))
    return told


def _turns(told: dict[str, object]) -> tuple[Turn, ...]:
    """Return the conversation of a row in any of its forms."""
    if "messages" in told:
        if both := [key for key in ("prompt", "completion") if key in told]:
            raise _NoRowError(said("has {first} and messages", first=both[0]))
        return _said_by_many(told["messages"], "messages")
    for key in ("prompt", "completion"):
        if key not in told:
            alike = nearest(key, told) if told else ""
            raise _NoRowError(said("has no {key} ({alike})", key=key, alike=alike) if alike else said("is empty"))
    return (*_side(told["prompt"], "prompt", "user"), *_side(told["completion"], "completion", "assistant"))


def _side(value: object, key: str, role: str) -> tuple[Turn, ...]:
    return (Turn(role, value),) if isinstance(value, str) else _said_by_many(value, key)


def _said_by_many(value: object, key: str) -> tuple[Turn, ...]:
    if not isinstance(value, list):
        raise _NoRowError(said("has {key} of {value}", key=key, value=shown(repr(value), 40)))
    turns = []
    for told in value:
        role, content = (told.get("role"), told.get("content")) if isinstance(told, dict) else (None, None)
        if role not in ROLES or not isinstance(content, str):
            raise _NoRowError(said("has a message in {key} without a known role and a text", key=key))
        turns.append(Turn(role, content))
    return tuple(turns)


def _check(turns: tuple[Turn, ...]) -> None:
    """Refuse a conversation in which nobody asks or answers, or out of turn."""
    roles = [turn.role for turn in turns]
    if "system" in roles[1:]:
        raise _NoRowError(said("has a system message that is not the first"))
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or spoken != ["user", "assistant"] * (len(spoken) // 2):
        raise _NoRowError(said("is no talk of user and assistant in turns that ends with the assistant"))
    if not all(turn.content.strip() for turn in turns if turn.role == "user"):
        raise _NoRowError(said("has an empty request"))
