"""The captions of the clips of a folder, from the text beside each and from lists, and which clips are held out."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...checks import first_few
from ...errors import DatasetError
from ...wording import few, said
from .clip import Finding
from .fault import Fault
from .layout import Layout, is_clip, same_name
from .rows import Row, read_rows
from .words import read_words

#: From how many letters on nobody can have meant a caption.
_MAX_CAPTION = 20_000
Find = Callable[[str], str | None]


@dataclass(frozen=True)
class Captioned:
    """What is said of one clip.

    Attributes:
        captions: each a way to describe it; none where nothing does.
        held_out: whether it is kept for validation; None where nothing says.
        faults: what is wrong with its captions.
    """

    captions: tuple[str, ...] = ()
    held_out: bool | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Captions:
    """What is said of all clips of a folder.

    Attributes:
        of: name of a clip -> what is said of it.
        strays: rows that name no clip.
        notes: what people should know of how captions were read.
    """

    of: Mapping[str, Captioned]
    strays: tuple[Finding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Said:
    """What one file says of one clip; `captions` is None where it says nothing of that."""

    source: str
    captions: tuple[str, ...] | None
    held_out: bool | None = None
    recovered: bool = False
    fault: Fault | None = None


def full_caption(trigger: str, caption: str) -> str:
    """Return a caption with the trigger in front, unless it begins with it already."""
    trigger, caption = trigger.strip(), caption.strip()
    start, rest = caption[: len(trigger)], caption[len(trigger) :]
    if not trigger or (start.casefold() == trigger.casefold() and not rest[:1].isalnum()):
        return caption
    return f"{trigger} {caption}".rstrip()


def read_captions(layout: Layout) -> Captions:
    """Read all that is said of the clips of a folder: of each in the text beside it, and in lists.

    Each line of a text beside a clip is one caption; a list that names a clip several times gives it several. A list
    is about its folder and those below. Where two files say different things of a clip, it has a fault.
    """
    parts_of: dict[str, list[_Said]] = {name: [] for name in layout.clips}
    strays: list[Finding] = []
    notes: list[str] = []
    for list_name in layout.lists:
        _take_list(layout, list_name, parts_of, strays, notes)
    beside = _texts_beside(layout)
    for name, text in beside.items():
        parts_of[name].append(_said_beside(layout.folder, text))
    alone = [text for text in layout.texts if text not in set(beside.values())]
    if alone:
        notes.append(said("beside no clip, and so no caption: {names}", names=few(alone, 8)))
    return Captions({name: _together(name, parts) for name, parts in parts_of.items()}, tuple(strays), tuple(notes))


# ---------------------------------------------------------------- beside a clip


def _texts_beside(layout: Layout) -> dict[str, str]:
    """Return clip -> the text beside it: `clip.mp4.txt`, else `clip.txt`, whatever the case of its letters."""
    exact = {same_name(text): text for text in layout.texts}
    texts = {same_name(text).casefold(): text for text in layout.texts} | exact
    found = {}
    for name in layout.clips:
        full, stem = f"{same_name(name)}.txt", f"{same_name(str(PurePosixPath(name).with_suffix('')))}.txt"
        spellings = (full, full.casefold(), stem, stem.casefold())
        text = next((texts[spelling] for spelling in spellings if spelling in texts), None)
        if text is not None:
            found[name] = text
    return found


def _said_beside(folder: Path, text: str) -> _Said:
    try:
        words = read_words(folder / text, text)
    except DatasetError as error:
        return _Said(text, (), fault=Fault("unreadable_caption", f"its caption {text} {error.what}", error.remedy))
    return _Said(text, tuple(line for line in words.lines if line), recovered=words.recovered)


# ---------------------------------------------------------------- in a list


def _take_list(
    layout: Layout, list_name: str, parts_of: Mapping[str, list[_Said]], strays: list[Finding], notes: list[str]
) -> None:
    """Add what a list says to what is said of each clip."""
    folder = posixpath.dirname(list_name)
    find, words = _finder(layout, folder), read_words(layout.folder / list_name, list_name)
    found = read_rows(words, list_name, layout.below(folder), find)
    notes += found.notes
    if words.recovered:
        notes.append(said("{list}: is no UTF-8, read as Windows-1252", list=list_name))
    of: dict[str, list[Row]] = {}
    for row in found.rows:
        name = row.name if row.name in parts_of else find(row.name)
        if name is None:
            strays.append(_stray(row, layout, folder))
        else:
            of.setdefault(name, []).append(row)
    for name, rows in of.items():
        parts_of[name].append(_said_in_list(list_name, rows, recovered=words.recovered))


def _finder(layout: Layout, folder: str) -> Find:
    """Return what finds the clip that a list in a folder names: by its path from there, with its ending or without."""
    prefix = f"{folder}/" if folder else ""
    known: dict[str, list[str]] = {}
    for name in layout.below(folder):
        inside = same_name(name.removeprefix(prefix))
        stem = str(PurePosixPath(inside).with_suffix(""))
        for spelling in dict.fromkeys((inside, inside.casefold(), stem, stem.casefold())):
            known.setdefault(spelling, []).append(name)

    def find(written: str) -> str | None:
        path = posixpath.normpath(same_name(written).replace("\\", "/"))
        path = path.removeprefix(f"{(layout.folder / folder).absolute().as_posix()}/")
        matches = known.get(path) or known.get(path.casefold()) or []
        return matches[0] if len(matches) == 1 else None

    return find


def _stray(row: Row, layout: Layout, folder: str) -> Finding:
    """Say of a row why it is about no clip."""
    path = layout.folder / folder / row.name.replace("\\", "/")
    alike = [name for name in layout.below(folder) if PurePosixPath(name).stem == PurePosixPath(row.name).stem]
    if len(alike) > 1:
        problem, remedy = f"{row.where} may mean {first_few(alike)}", "Write the whole name"
    elif path.is_file() and not is_clip(row.name):
        problem, remedy = f"{row.where} names it, but it is no video or picture", "Remove the row"
    elif path.is_file():
        problem = said("{row} names it, but it is none of the clips below the list", row=row.where)
        remedy = said("Move it there")
    else:
        problem = said("{row} names it, but there is no such file", row=row.where)
        remedy = said("Correct the name, or remove the row")
    return Finding(row.name, use=False, problem=problem, remedies=(remedy,), kinds=("missing",))


def _said_in_list(list_name: str, rows: Sequence[Row], *, recovered: bool) -> _Said:
    """Put together what the rows of a list say of one clip."""
    captions = [row.captions for row in rows if row.captions is not None]
    splits = {row.held_out for row in rows if row.held_out is not None}
    fault = None
    if len(splits) > 1:
        fault = Fault("two_splits", said("{list} has it in both splits, for training and held out", list=list_name))
    together = tuple(caption for some in captions for caption in some) if captions else None
    return _Said(list_name, together, next(iter(splits), None), recovered, fault)


# ---------------------------------------------------------------- together


def _together(name: str, parts: Sequence[_Said]) -> Captioned:
    """Put together what several files say of one clip."""
    captioning = [part for part in parts if part.captions is not None]
    captions = _distinct(captioning[0].captions or ()) if captioning else ()
    splits = {part.held_out for part in parts if part.held_out is not None}
    faults = [*(part.fault for part in parts if part.fault is not None), *_caption_faults(name, captions, captioning)]
    if len(splits) > 1:
        sources = few([part.source for part in parts if part.held_out is not None], 3)
        faults.append(Fault("two_splits", said("{sources} have it in different splits", sources=sources)))
    return Captioned(captions, next(iter(splits), None), tuple(faults))


def _caption_faults(name: str, captions: Sequence[str], parts: Sequence[_Said]) -> Iterator[Fault]:
    """Yield what is wrong with the captions of a clip."""
    if any(_distinct(part.captions or ()) != captions for part in parts):
        sources = few([part.source for part in parts], 3)
        yield Fault("two_captions", said("{sources} caption it differently", sources=sources))
    if not parts:
        yield Fault(
            "no_caption", said("has no caption: no {name}.txt, no row of a list", name=PurePosixPath(name).stem)
        )
    elif not captions and not any(part.fault for part in parts):
        yield Fault("empty_caption", said("its caption in {source} is empty", source=parts[0].source))
    if any(part.recovered for part in parts) and not all(map(str.isascii, captions)):
        what = said("its caption in {source} is no UTF-8, read as Windows-1252", source=parts[0].source)
        yield Fault("not_utf8", what)
    longest = max(map(len, captions), default=0)
    if longest > _MAX_CAPTION:
        yield Fault(
            "unreadable_caption", said("its caption is {count} letters long", count=f"{longest:,}"), said("Shorten it")
        )


def _distinct(captions: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(caption for caption in captions if caption))
