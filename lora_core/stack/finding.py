"""The files of a stack: from the paths in its rows to files that lie in the LoRA folders."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PureWindowsPath

from ..errors import StackError
from ..experts.twins import twin_of
from .entry import LoraEntry
from .hub import Repository


def find_lora(path: str | Path, folders: Sequence[str | Path] = ()) -> Path:
    """Return the absolute path of a LoRA file under the name it was given, refusing one that leaves the folders.

    A link counts as what it is called and where it lies, not as what it points to.

    Args:
        path: relative to one of the folders (the first that has it wins), or absolute inside one of them.
            Backslashes separate folders, as ComfyUI on Windows writes them; `~` is the user's home.
        folders: where LoRAs may lie. Without any, `path` is taken as it is, relative to the working directory.
    """
    name = _portable(path)
    places = [Path(os.path.abspath(folder)) for folder in folders]
    is_absolute = PurePath(name).is_absolute()
    if PureWindowsPath(name).drive and not is_absolute and not places:
        what, remedy = "is a path of another system, with a drive letter", "Give the path that the file has here"
        raise StackError(str(path), what, remedy=remedy)
    candidates = [name] if is_absolute or not places else [place / name for place in places]
    named = [Path(os.path.abspath(candidate)) for candidate in candidates]
    allowed = [candidate for candidate in named if not places or _is_below(candidate, places)]
    if (found := next(filter(None, map(_existing, allowed)), None)) is not None:
        return found
    foreign = PureWindowsPath(name).drive and not is_absolute  # C:/... on another system
    if foreign or len(allowed) < len(candidates):
        expected = f"a path inside {', '.join(map(str, places))}"
        raise StackError(str(path), "leaves the LoRA folders", expected=expected)
    raise _missing(allowed, str(path), places)


def relative_to_folders(path: Path, folders: Iterable[str | Path]) -> str:
    """Return `path` as a preset stores it: relative to the folder it lies in, with forward slashes, else absolute."""
    named = Path(os.path.abspath(path))
    roots = [root for folder in folders for root in _names_of(folder)]
    inside = [named.relative_to(root) for root in roots if named.is_relative_to(root)]
    return min(inside, key=lambda relative: len(relative.parts), default=named).as_posix()


def with_found_files(
    entry: LoraEntry, lora_folders: Sequence[str | Path], base: Path | None = None, *, download: bool = False
) -> LoraEntry:
    """Return the entry with absolute paths, found in the LoRA folders or else relative to `base`.

    A path that is no file may be a repository on Hugging Face, whose files in the local cache are taken. Of a row that
    is off, what is not there stays as it was given.
    """

    def find(path: Path | None, applies_to: str) -> tuple[Path | None, Path | None]:
        if path is None:
            return None, None
        try:
            return _find(path, applies_to, lora_folders, base, download=download)
        except StackError:
            if entry.enabled:
                raise
            return path, None

    path, twin = find(entry.path, "high_noise" if entry.low_noise_path is not None else entry.applies_to)
    low, _ = find(entry.low_noise_path, "low_noise")
    return replace(entry, path=path, low_noise_path=low or twin)


def _find(
    path: Path, applies_to: str, lora_folders: Sequence[str | Path], base: Path | None, *, download: bool
) -> tuple[Path, Path | None]:
    """Return a file, or of a repository the file for these experts and its low-noise twin."""
    is_free = not lora_folders and not PureWindowsPath(path).drive and not str(path).startswith("~")
    try:
        return find_lora(base / path if base is not None and is_free else path, lora_folders), None
    except StackError as missing:
        repository = Repository.of(str(path))
        if repository is None:
            raise
        if download or repository.is_cached:
            return repository.find(applies_to, download=download)
        if not repository.is_certain:
            raise
        what = f"{missing.what}, and the local Hugging Face cache has no such repository"
        remedy = f"Check the path, fetch the repository with `{repository.command}`, or switch download on"
        raise StackError(missing.where, what, expected=missing.expected, remedy=remedy) from missing


def with_twin(
    entry: LoraEntry,
    lora_folders: Sequence[str | Path],
    expert: Callable[[], str | None],
    taken: Container[Path] = (),
) -> LoraEntry:
    """Return the entry with the low-noise twin of its own file, or unchanged if it wants none or there is none.

    A high-noise file wants one if it is left to what it says of itself and has nothing for the low-noise expert. A twin
    is held to the LoRA folders as any file is.

    Args:
        entry: the row, its own file found.
        lora_folders: where its files lie.
        expert: tells which expert its file says it is for; asked only where there is a twin.
        taken: the files that other rows name: they act as those rows say, and are nobody's twin.
    """
    is_alone = entry.low_noise_path is None and entry.low_noise_weights is None
    if entry.path is None or not (entry.find_twin and entry.applies_to == "auto" and is_alone):
        return entry
    twin = twin_of(entry.path)
    if twin is None or twin in taken or expert() != "high_noise":
        return entry
    return replace(entry, low_noise_path=find_lora(twin, lora_folders), found_twin=True)


def twin_left_out(entry: LoraEntry) -> Path | None:
    """Return the twin of a row's file where the row is left to what the file says, for what acts without its twin."""
    return twin_of(entry.path) if entry.path is not None and entry.applies_to == "auto" else None


def files_of(entries: Iterable[LoraEntry]) -> list[Path]:
    """Return the files of rows, the twins that would be brought along included."""
    files: list[Path | None] = []
    for entry in entries:
        twin = None if entry.path is None else twin_of(entry.path)
        files += [entry.path, entry.low_noise_path, twin]
    return [file for file in files if file is not None]


def _portable(path: str | Path) -> str:
    text = str(path)
    if not text.strip() or "\0" in text:
        raise StackError("path", f"{text!r} names no file", expected="a LoRA file")
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


def _missing(candidates: Sequence[Path], name: str, folders: Sequence[Path]) -> StackError:
    """Return the error that says which file beside any of `candidates` is most like the one that is missing."""
    beside = {near for path in candidates for near in _names_in(path.parent)}
    places = ", ".join(map(str, folders)) or candidates[0].parent
    is_folder = any(os.path.isdir(path) for path in candidates)
    near = difflib.get_close_matches(candidates[0].name, sorted(beside - {candidates[0].name}), n=1)
    expected = f"nearest: {near[0]!r}" if near else "a LoRA file"
    return StackError(name, "is a folder" if is_folder else f"no such file in {places}", expected=expected)


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
