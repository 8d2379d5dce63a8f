"""The finding of a LoRA file: from a path as people write it to a file that lies in the LoRA folders."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath

from ..errors import StackError
from ..wording import said

#: What the file of a row is expected to be, and that of its region.
A_LORA, A_MASK = said("a LoRA file"), said("a picture or a video")


def find_lora(
    path: str | Path, folders: Sequence[str | Path] = (), base: Path | None = None, *, wanted: str = A_LORA
) -> Path:
    """Return the absolute path of a LoRA file under the name it was given, refusing one that leaves the folders.

    A link counts as what it is called and where it lies, not as what it points to.

    Args:
        path: relative to one of the folders (the first that has it wins), or absolute inside one of them.
            Backslashes separate folders, as ComfyUI on Windows writes them; `~` is the user's home.
        folders: where LoRAs may lie. Without any, `path` is taken as it is, or is the name of an embedded LoRA.
        base: what it is relative to then, the working directory by default.
        wanted: what is looked for; `A_MASK` for what the region of a row names.
    """
    name = _portable(path)
    if not folders:
        return _find_anywhere(path, name, base, wanted)
    places = [Path(os.path.abspath(folder)) for folder in folders]
    is_absolute = PurePath(name).is_absolute()
    candidates = [name] if is_absolute else [place / name for place in places]
    named = [Path(os.path.abspath(candidate)) for candidate in candidates]
    allowed = [candidate for candidate in named if _is_below(candidate, places)]
    if (found := next(filter(None, map(_existing, allowed)), None)) is not None:
        return found
    foreign = PureWindowsPath(name).drive and not is_absolute  # C:/... on another system
    if foreign or len(allowed) < len(candidates):
        remedy = "Put the file there, or name one that is there"
        raise StackError(
            str(path),
            "leaves the LoRA folders" if wanted == A_LORA else "leaves the folders of masks",
            expected=said("a path inside {places}", places=_called(places)),
            remedy=remedy,
        )
    raise _missing(allowed, str(path), places, wanted=wanted)


def or_embedded(file: Path, name: str) -> Path:
    """Return `file` or, where there is none and `name` is that of an embedded LoRA, the file of that."""
    return file if _is_file(file) else _embedded_loras().get(name, file)


def relative_to_folders(path: Path, folders: Iterable[str | Path]) -> str:
    """Return `path` as a preset stores it: relative to the folder it lies in, with forward slashes, else absolute."""
    named = Path(os.path.abspath(path))
    roots = [root for folder in folders for root in _names_of(folder)]
    inside = [named.relative_to(root) for root in roots if named.is_relative_to(root)]
    return min(inside, key=lambda relative: len(relative.parts), default=named).as_posix()


def _find_anywhere(path: str | Path, name: str, base: Path | None, wanted: str) -> Path:
    """Return a file that is named from `base` on, or an embedded LoRA."""
    if PureWindowsPath(name).drive and not PurePath(name).is_absolute():
        what, remedy = "is a path of another system, with a drive letter", "Give the path that the file has here"
        raise StackError(str(path), what, remedy=remedy)
    file = Path(os.path.abspath(name if base is None else base / name))
    if (found := _existing(or_embedded(file, name))) is not None:
        return found
    raise _missing([file], str(path), (), _embedded_loras() if wanted == A_LORA else (), wanted=wanted)


def _portable(path: str | Path) -> str:
    text = str(path)
    if not text.strip() or "\0" in text:
        raise StackError(
            "path", said("{text!r} names no file", text=text), expected="a LoRA file", remedy="Choose a LoRA file"
        )
    text = PureWindowsPath(text).as_posix() if "\\" in text else text
    return os.path.expanduser(text)


def _names_of(folder: str | Path) -> list[Path]:
    """Return a folder as it was named and, where that is a link, as what it points to."""
    named = Path(os.path.abspath(folder))
    try:
        return [named, named.resolve()]
    except (OSError, RuntimeError):  # a loop of links
        return [named]


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(root) for folder in folders for root in _names_of(folder))


def _existing(path: Path) -> Path | None:
    """Return the file at a path, whose name may be written in another Unicode normal form than on the disk."""
    if _is_file(path):
        return path
    if str(path).isascii():
        return None
    found = Path(path.anchor)
    for part in path.parts[1:]:
        form = unicodedata.normalize("NFC", part)
        names = [part, *(name for name in _names_in(found) if unicodedata.normalize("NFC", name) == form)]
        found = next((found / name for name in names if os.path.lexists(found / name)), found / part)
    return found if _is_file(found) else None


def _missing(
    candidates: Sequence[Path], name: str, folders: Sequence[Path], embedded: Iterable[str] = (), *, wanted: str
) -> StackError:
    """Return the error that says which file beside any of `candidates` is most like the one that is missing."""
    beside = {near for path in candidates for near in _names_in(path.parent)} | set(embedded)
    places = _called(folders) or candidates[0].parent
    is_folder = any(os.path.isdir(path) for path in candidates)
    near = difflib.get_close_matches(candidates[0].name, sorted(beside - {candidates[0].name}), n=1)
    expected = said("nearest: {first!r}", first=near[0]) if near else wanted
    what = "is a folder" if is_folder else said("no such file in {places}", places=places)
    return StackError(name, what, expected=expected, remedy="Name a file that is there")


def _called(folders: Sequence[Path]) -> str:
    """Name folders without saying where they are, which is nobody's business who sees a server's page."""
    return ", ".join(dict.fromkeys(folder.name for folder in folders))


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system knows
        return False


def _embedded_loras() -> Mapping[str, Path]:
    from ..families.registry import embedded_loras  # the shell builds its options from stacks, and waits for no torch

    return embedded_loras()
