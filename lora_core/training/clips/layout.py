"""The layout of a clips folder: which of its files are clips, which tell captions, and what is left aside."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import DatasetError
from ...wording import said

#: What is read as a video; a .gif of one frame is a picture after all, and a .webp of many a video.
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".gif", ".avi")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
#: Files that tell the captions of all clips in their folder and below.
LIST_NAMES = ("captions.txt", "metadata.jsonl", "metadata.csv")
#: A folder that holds a file of this name is not looked into: it holds results, not clips.
NO_CLIPS = ".no_clips"
#: What the cache of a clips folder is called inside it; nobody needs to be told that it holds no clips.
CACHE_NAME = ".wanloom-cache"

HIDDEN, MARKED, OTHER, UNNAMEABLE = "hidden", f"marked with {NO_CLIPS}", "of another kind", "named in no UTF-8"


@dataclass(frozen=True)
class Layout:
    """The files below a clips folder, by their paths inside it, with forward slashes and in the order of their names.

    Attributes:
        clips: videos and pictures.
        texts: text files that may be the caption of one clip.
        lists: files that tell the captions of many.
        ignored: why -> files and folders that are no part of it; those of a folder with a `/` behind.
    """

    folder: Path
    clips: tuple[str, ...]
    texts: tuple[str, ...]
    lists: tuple[str, ...]
    ignored: Mapping[str, tuple[str, ...]]

    def below(self, folder: str) -> tuple[str, ...]:
        """Return the clips in a folder inside, "" for all, and in its sub-folders."""
        return tuple(name for name in self.clips if not folder or name.startswith(f"{folder}/"))


def read_layout(folder: Path) -> Layout:
    """Look through a folder and its sub-folders; no file is opened."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "there is no such folder"
        raise DatasetError(folder, what, expected="a folder of clips", remedy="Check the path")
    sorts: dict[str, list[str]] = {}
    for name, sort in _sorted_files(folder):
        sorts.setdefault(sort, []).append(name)
    found = {sort: tuple(sorted(names, key=natural)) for sort, names in sorts.items()}
    clips, texts, lists = (found.pop(sort, ()) for sort in ("clip", "text", "list"))
    if not clips:
        suffixes = " ".join(dict.fromkeys((*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)))
        what = said("holds no clips, only {sorts}", sorts=_counted(sorts)) if sorts else "is empty"
        raise DatasetError(
            folder, what, expected=said("files ending in {suffixes}", suffixes=suffixes), remedy="Check the path"
        )
    return Layout(folder, clips, texts, lists, found)


def natural(name: str) -> tuple[object, ...]:
    """Return what sorts names as file managers do: numbers by their value, letters without regard to their case."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts), name


def same_name(name: str) -> str:
    """Return a name in the form in which names are compared: macOS takes letters with accents apart."""
    return unicodedata.normalize("NFC", name)


def is_clip(name: str) -> bool:
    """Say whether a name ends as those of clips do."""
    return PurePosixPath(name).suffix.lower() in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)


def _sorted_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (path inside, what it is); folders that links lead to are entered, each once."""
    entered: set[str] = set()
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        inside = os.path.relpath(path, folder).replace(os.sep, "/").removeprefix(".").removeprefix("/")
        prefix = f"{inside}/" if inside else ""
        if inside and NO_CLIPS in files:
            yield _writable(prefix), MARKED
            folders.clear()
            continue
        for name in [name for name in folders if name.startswith(".") and name != CACHE_NAME]:
            yield _writable(f"{prefix}{name}/"), HIDDEN
        entered.add(os.path.realpath(path))
        folders[:] = [
            name for name in folders if name[0] != "." and os.path.realpath(os.path.join(path, name)) not in entered
        ]
        for name in files:
            full = prefix + name
            yield _writable(full), _sort_of(full)


def _sort_of(path: str) -> str:
    name = PurePosixPath(path).name.lower()
    if path != _writable(path):
        return UNNAMEABLE
    tests = (
        (name.startswith("."), HIDDEN),
        (is_clip(name), "clip"),
        (name in LIST_NAMES, "list"),
        (name.endswith(".txt"), "text"),
    )
    return next((sort for is_so, sort in tests if is_so), OTHER)


def _writable(name: str) -> str:
    """Return a name that can be printed, whatever bytes the file system has for it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _counted(sorts: Mapping[str, list[str]]) -> str:
    endings = Counter(
        PurePosixPath(name).suffix.lower() or "without ending" for names in sorts.values() for name in names
    )
    return ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))


def _refuse(error: OSError) -> None:
    raise DatasetError(
        error.filename,
        said("cannot be looked into: {error}", error=error.strerror),
        remedy="Allow it, or move it away",
    )
