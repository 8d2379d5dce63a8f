"""The rows of a list of captions: `captions.txt`, `metadata.jsonl` or `metadata.csv`, and of one array in a `.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ...checks import first_few, known, parse_json, shown
from ...errors import DatasetError
from ...wording import few, said
from .layout import is_clip
from .words import MAX_BYTES, Words

#: The names that the parts of a row have in metadata.
FILE_KEYS = ("file", "file_name", "video")
CAPTION_KEYS = ("caption", "text", "prompt")
SPLIT_KEY = "split"
#: What a split may be called -> whether its clips are held out.
SPLITS = {
    **dict.fromkeys(("train", "training"), False),
    **dict.fromkeys(("val", "valid", "validation", "test", "eval", "held_out"), True),
}
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """What a list says of one clip.

    Attributes:
        name: the clip as the list names it.
        captions: what is said of it, in words that may be empty; None where the row is not about that.
        held_out: whether it is kept for validation; None where the row is not about that.
        where: the list and the line, for messages.
    """

    name: str
    captions: tuple[str, ...] | None
    held_out: bool | None
    where: str


@dataclass(frozen=True)
class Rows:
    """The rows of a list, and what people should know of how they were read."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


def read_rows(words: Words, list_name: str, clips: Sequence[str], find: Callable[[str], str | None]) -> Rows:
    """Read the rows of a list.

    Args:
        words: what the list says.
        list_name: its path inside the clips folder; how it ends decides how it is read.
        clips: the clips in its folder and below, in the order of their names.
        find: which of them a name stands for.
    """
    read = _READERS[PurePosixPath(list_name).suffix.lower()]
    return read(words, list_name, clips, find)


# ---------------------------------------------------------------- captions.txt


def _read_text(words: Words, where: str, clips: Sequence[str], find: Callable[[str], str | None]) -> Rows:
    lines = words.lines
    parts = [_parted(line) for line in lines]
    names = [name for name, _ in parts if name is not None]
    are_named = any(find(name) or is_clip(name) for name in names)
    if are_named or (names and len(names) == len(lines) and not any(" " in name for name in names)):
        return Rows(tuple(_named(lines, parts, where)))
    if len(lines) != len(clips):
        what = said("its lines are {lines}, and the clips {clips}", lines=len(lines), clips=len(clips))
        expected = "one line for each clip in the order of their names, or `name | caption`"
        raise DatasetError(where, what, expected=expected, remedy="Name the clip in each line")
    rows = [
        Row(name, (line,), None, f"{where} line {index + 1}")
        for index, (name, line) in enumerate(zip(clips, lines, strict=True))
    ]
    return Rows(tuple(rows), tuple(_note_on_order(clips, where)))


def _parted(line: str) -> tuple[str | None, str]:
    """Take `name | caption` or `name<TAB>caption` apart; the name is None where there is neither."""
    for mark in ("\t", "|"):
        name, found, caption = line.partition(mark)
        if found:
            return name.strip(), caption.strip()
    return None, line


def _named(lines: Sequence[str], parts: Sequence[tuple[str | None, str]], where: str) -> Iterator[Row]:
    for number, (line, (name, caption)) in enumerate(zip(lines, parts, strict=True), 1):
        if not line:
            continue
        if name is None:
            what = said("{line} names no clip, other lines do", line=shown(line))
            raise DatasetError(f"{where} line {number}", what, expected="`name | caption`", remedy="Name its clip")
        yield Row(name, (caption,), None, f"{where} line {number}")


def _note_on_order(clips: Sequence[str], where: str) -> Iterator[str]:
    if list(clips) != sorted(clips):
        yield f"{where}: its lines are taken in the order {first_few(clips)}, numbers by their value"


# ---------------------------------------------------------------- metadata


def _read_jsonl(words: Words, where: str, clips: Sequence[str], find: Callable[[str], str | None]) -> Rows:
    objects = []
    for number, line in enumerate(words.lines, 1):
        if line:
            place = f"{where} line {number}"
            row = parse_json(line, place, '{"file": ..., "caption": ...}', DatasetError)
            if not isinstance(row, dict):
                raise DatasetError(
                    place,
                    said("{line} is no object", line=shown(line)),
                    expected='{"file": ..., "caption": ...}',
                    remedy="Correct the line",
                )
            objects.append((place, row))
    return _of_objects(objects, where)


def _read_json(words: Words, where: str, clips: Sequence[str], find: Callable[[str], str | None]) -> Rows:
    expected = '[{"video": ..., "prompt": ...}, ...]'
    objects = parse_json(words.text, where, expected, DatasetError, most=MAX_BYTES)
    if not isinstance(objects, list) or not objects:
        raise DatasetError(where, "holds no list of clips", expected=expected, remedy="Write an object for each clip")
    for number, row in enumerate(objects, 1):
        if not isinstance(row, dict):
            raise DatasetError(
                f"{where} item {number}",
                said("{line} is no object", line=shown(repr(row))),
                expected='{"video": ..., "prompt": ...}',
                remedy="Correct the item",
            )
    return _of_objects([(f"{where} item {number}", row) for number, row in enumerate(objects, 1)], where)


def _read_csv(words: Words, where: str, clips: Sequence[str], find: Callable[[str], str | None]) -> Rows:
    header = (words.lines or ("",))[0]
    delimiter = next((d for d in _DELIMITERS if set(_columns(header, d)) & set(FILE_KEYS)), None)
    if delimiter is None:
        expected = said(
            "a first line of column names, one of them {file_keys}", file_keys=" or ".join(map(repr, FILE_KEYS))
        )
        raise DatasetError(
            where, said("begins with {header}", header=shown(header)), expected=expected, remedy="Add that line"
        )
    try:
        reader = csv.reader(io.StringIO(words.text, newline=""), delimiter=delimiter, strict=True)
        next(reader)
        cells = [(f"{where} line {reader.line_num}", row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError(
            where, said("is no table: {error}", error=error), remedy="Check its quotation marks"
        ) from error
    columns = _columns(header, delimiter)
    for place, row in cells:
        if len(row) != len(columns):
            remedy = "Put captions that hold one in quotation marks"
            expected = said("{count}, with {delimiter!r} between them", count=len(columns), delimiter=delimiter)
            raise DatasetError(place, said("has {count} columns", count=len(row)), expected=expected, remedy=remedy)
    return _of_objects([(place, dict(zip(columns, row, strict=True))) for place, row in cells], where)


def _columns(header: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"').lower() for name in header.split(delimiter)]


def _of_objects(objects: Iterable[tuple[str, Mapping[str, object]]], where: str) -> Rows:
    objects = list(objects)
    used = {*FILE_KEYS, *CAPTION_KEYS, SPLIT_KEY}
    unused = list(dict.fromkeys(key for _, row in objects for key in row if key not in used))
    notes = (said("{where}: not used: {names}", where=where, names=few(unused, 8)),) if unused else ()
    return Rows(tuple(_row(row, place) for place, row in objects), notes)


def _row(row: Mapping[str, object], where: str) -> Row:
    name = _one_of(row, FILE_KEYS, where)
    if not isinstance(name, str) or not name.strip():
        what = "names no file" if name is None else said("names the file {name!r:.60}", name=name)
        raise DatasetError(
            where,
            what,
            expected=said("its name under {file_keys}", file_keys=" or ".join(map(repr, FILE_KEYS))),
            remedy="Name the file",
        )
    return Row(name.strip(), _captions(_one_of(row, CAPTION_KEYS, where), where), _held_out(row, where), where)


def _one_of(row: Mapping[str, object], keys: Sequence[str], where: str) -> object:
    """Return what stands under one of several names for the same thing."""
    given = {key: row[key] for key in keys if row.get(key) is not None}
    if len(given) > 1 and len(set(map(repr, given.values()))) > 1:
        what = said("has {given}, which say different things", given=" and ".join(map(repr, given)))
        raise DatasetError(where, what, remedy="Keep one of them")
    return next(iter(given.values()), None)


def _captions(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise DatasetError(
            where,
            said("the caption is {value!r:.60}", value=value),
            expected="a text, or a list of texts",
            remedy="Write a text",
        )
    return tuple(caption.strip() for caption in captions)


def _held_out(row: Mapping[str, object], where: str) -> bool | None:
    value = row.get(SPLIT_KEY)
    if value is None or value == "":
        return None
    word = str(value).strip().lower().replace("-", "_")
    return SPLITS[known(word, SPLITS, f"{where} {SPLIT_KEY}", DatasetError)]


_READERS: dict[str, Callable[[Words, str, Sequence[str], Callable[[str], str | None]], Rows]] = {
    ".txt": _read_text,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}
