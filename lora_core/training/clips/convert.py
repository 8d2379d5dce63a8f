"""The conversion of clips in any layout to the trainer's own: a clip, and its captions in a text beside it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...atomic import replacing_folder
from ...checks import first_few, typed
from ...errors import DatasetError
from ...progress import Progress, unheard
from ...wording import Said, said
from .captions import read_captions
from .layout import LIST_NAMES, VIDEO_SUFFIXES, is_clip, read_layout, same_name
from .new_folder import check_new_folder
from .rows import Row, read_rows
from .words import read_words

#: Lists that name every clip by themselves; a `captions.txt` may go by the order of the clips beside it.
LIST_SUFFIXES = (".json", ".jsonl", ".csv")
#: The list that tells which clips are held out, where anything does.
_SPLITS = "metadata.jsonl"


@dataclass(frozen=True)
class Item:
    """A clip to be converted.

    Attributes:
        source: the file.
        name: its path inside the new folder, with forward slashes.
        captions: each a way to describe it.
        held_out: whether it is kept for validation; None where nothing says.
    """

    source: Path
    name: str
    captions: tuple[str, ...]
    held_out: bool | None = None


@dataclass(frozen=True)
class Converted:
    """What a conversion has written.

    Attributes:
        num_held_out: clips that the layout marks as held out.
        notes: what else is good to know, a line each.
    """

    folder: Path
    num_clips: int
    num_held_out: int
    notes: tuple[str, ...]


@typed(DatasetError)
def convert_clips(source: str | Path, folder: str | Path, *, progress: Progress = unheard) -> Converted:
    """Copy clips into a new folder, each with its captions beside it; what is there already stays as it is.

    Args:
        source: a folder in any layout that a training reads, or a list of its own: a .json that holds an array, a
            .jsonl or a .csv, of rows such as `{"video": …, "prompt": …}`, whose files are taken from where it lies.
        folder: where to, new or empty; the clips keep their names, and those of other folders lose the folder's.
        progress: told how many are copied.

    Raises:
        DatasetError: a clip without caption, a row without its file, files that would get the same name.
        OutputError: the new folder holds something, or cannot be written.
    """
    source, folder = Path(source), Path(folder)
    check_new_folder(folder)
    if source.is_dir() and Path(os.path.realpath(source)) in Path(os.path.realpath(folder)).parents:
        what = "lies inside the folder that is converted"
        raise DatasetError(folder, what, expected="a folder beside it", remedy="Choose another")
    items, notes = _of_folder(source) if source.is_dir() else _of_list(source)
    _check_names(source, items)
    with replacing_folder(folder, lambda: check_new_folder(folder)) as temporary:
        texts = _texts_of(items)
        for number, item in enumerate(items, 1):
            place = temporary / item.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.source, place)
            lines = "".join(f"{' '.join(caption.split())}\n" for caption in item.captions)
            (temporary / texts[item.name]).write_text(lines, encoding="utf-8")
            progress(number, len(items), said("clips copied"))
        if any(item.held_out is not None for item in items):
            (temporary / _SPLITS).write_text(_splits(items), encoding="utf-8")
    return Converted(folder, len(items), sum(item.held_out is True for item in items), notes)


def _of_folder(folder: Path) -> tuple[list[Item], tuple[str, ...]]:
    """Return the clips of a folder with what all its texts and lists say of them."""
    layout = read_layout(folder)
    captions = read_captions(layout)
    faults = [f"{finding.name}: {finding.problem}" for finding in captions.strays]
    for name, captioned in captions.of.items():
        faults += [f"{name}: {fault.text}" for fault in captioned.faults if fault.leaves_out]
    _refuse(folder, faults)
    items = [Item(folder / name, name, said_of.captions, said_of.held_out) for name, said_of in captions.of.items()]
    return items, captions.notes


def _of_list(path: Path) -> tuple[list[Item], tuple[str, ...]]:
    """Return the clips that a list names, in its order; rows of the same file are captions of one clip."""
    if path.suffix.lower() not in LIST_SUFFIXES or not path.is_file():
        what = "is no list of clips" if path.exists() else "there is no such file or folder"
        expected = said("a folder of clips, or a list ending in {suffixes}", suffixes=" ".join(LIST_SUFFIXES))
        raise DatasetError(path, what, expected=expected, remedy="Check the path")
    found = read_rows(read_words(path, path.name), path.name, (), lambda name: None)
    of: dict[Path, list[Row]] = {}
    faults: list[str] = []
    for row in found.rows:
        file = Path(os.path.normpath(path.parent / row.name.replace("\\", "/")))
        if fault := _fault_of(row, file):
            faults.append(fault)
        else:
            of.setdefault(file, []).append(row)
    _refuse(path, faults)
    items = [_item(file, rows, path.parent) for file, rows in of.items()]
    _refuse(path, [f"{item.name}: no caption" for item in items if not item.captions])
    return items, found.notes


def _fault_of(row: Row, file: Path) -> str:
    if not file.is_file():
        return said("{row} names {name!r:.60}, and there is no such file", row=row.where, name=row.name)
    if not is_clip(file.name):
        suffixes = " ".join(VIDEO_SUFFIXES)
        return said(
            "{row} names {name!r:.60}, which ends in none of {suffixes}",
            row=row.where,
            name=row.name,
            suffixes=suffixes,
        )
    return ""


def _item(file: Path, rows: Sequence[Row], folder: Path) -> Item:
    captions = dict.fromkeys(caption for row in rows for caption in row.captions or () if caption)
    splits = {row.held_out for row in rows if row.held_out is not None}
    if len(splits) > 1:
        what = said("{list} has it in both splits, for training and held out", list=rows[0].where)
        raise DatasetError(file.name, what, remedy="Keep one of them")
    return Item(file, _inside(file, folder), tuple(captions), next(iter(splits), None))


def _inside(file: Path, folder: Path) -> str:
    """Return a file's path inside a folder; of what lies elsewhere, or where it would be hidden, its name alone."""
    base = Path(os.path.normpath(folder))
    inside = file.relative_to(base) if base in file.parents else Path(file.name)
    return file.name if any(part.startswith(".") for part in inside.parts) else inside.as_posix()


def _refuse(source: Path, faults: Sequence[str]) -> None:
    """Raise where something is wrong with the clips, all of it in one message."""
    if faults:
        what = said(
            "{count} fault: {faults}" if len(faults) == 1 else "{count} faults: {faults}",
            count=len(faults),
            faults=first_few(faults, between="; "),
        )
        remedy = "Correct or remove what is named, and convert again"
        raise DatasetError(source, what, expected="every clip with its file and a caption", remedy=remedy)


def _check_names(source: Path, items: Iterable[Item]) -> None:
    counts = Counter(same_name(item.name) for item in items)
    if twice := [name for name, count in counts.items() if count > 1]:
        what: Said = said("several clips would be called {names}", names=first_few(twice))
        raise DatasetError(source, what, expected="names of their own", remedy="Rename one of them")


def _texts_of(items: Sequence[Item]) -> dict[str, str]:
    """Return clip -> the text beside it: `clip.txt`, or `clip.mp4.txt` where that name has another meaning."""
    stems = {item.name: str(PurePosixPath(item.name).with_suffix("")) for item in items}
    shared = Counter(same_name(stem).casefold() for stem in stems.values())

    def text(name: str, stem: str) -> str:
        is_taken = shared[same_name(stem).casefold()] > 1 or f"{PurePosixPath(stem).name}.txt".lower() in LIST_NAMES
        return f"{name}.txt" if is_taken else f"{stem}.txt"

    return {name: text(name, stem) for name, stem in stems.items()}


def _splits(items: Iterable[Item]) -> str:
    rows = (
        {"file": item.name, "split": "held_out" if item.held_out else "train"}
        for item in items
        if item.held_out is not None
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
