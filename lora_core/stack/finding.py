"""The files of a stack: from the paths in its rows to files that really lie in the LoRA folders, told by their hash."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath, PureWindowsPath

from ..errors import StackError
from ..experts import twin_beside
from .entry import LoraEntry


def find_lora(path: str | Path, folders: Sequence[str | Path] = (), base: Path | None = None) -> Path:
    """Return the real, absolute path of a LoRA file, refusing one that leaves the folders.

    Args:
        path: relative to one of the folders (the first that has it wins), or absolute inside one of them.
            Backslashes separate folders, as ComfyUI on Windows writes them.
        folders: where LoRAs may lie. Without any, `path` is taken as it is, or is the name of an embedded LoRA.
        base: what it is relative to then, the working directory by default.
    """
    name = _portable(path)
    roots = [Path(folder).resolve() for folder in folders]
    if not roots:
        file = Path(name) if base is None else base / name
        return _existing([or_embedded(file, name)], str(path if base is None else file), ())
    candidates = [name] if PurePath(name).is_absolute() else [root / name for root in roots]
    allowed = [real for candidate in candidates if (real := _real_path(candidate, roots)) is not None]
    if (found := next(filter(_is_file, allowed), None)) is not None:
        return found
    foreign = PureWindowsPath(name).drive and not PurePath(name).is_absolute()  # C:/... on another system
    if foreign or len(allowed) < len(candidates):
        places = ", ".join(str(root) for root in roots)
        raise StackError(str(path), "leaves the LoRA folders", expected=f"a path inside {places}")
    return _existing(allowed, str(path), roots)


def or_embedded(file: Path, name: str) -> Path:
    """Return `file` or, where there is none and `name` is that of an embedded LoRA, the file of that."""
    return file if _is_file(file) else _embedded_loras().get(name, file)


def relative_to_folders(path: Path, folders: Iterable[str | Path]) -> str:
    """Return `path` as a preset stores it: relative to the folder it lies in, with forward slashes, else absolute."""
    real = path.resolve()
    inside = [real.relative_to(root) for folder in folders if real.is_relative_to(root := Path(folder).resolve())]
    return min(inside, key=lambda relative: len(relative.parts), default=real).as_posix()


def with_found_files(entry: LoraEntry, lora_folders: Sequence[str | Path], base: Path | None = None) -> LoraEntry:
    """Return the entry with absolute paths, found in the LoRA folders or else relative to `base`."""

    def find(path: Path | None) -> Path | None:
        if path is None:
            return None
        return find_lora(path, lora_folders, base)

    return replace(entry, path=find(entry.path), low_noise_path=find(entry.low_noise_path))


def with_twin(entry: LoraEntry, lora_folders: Sequence[str | Path], expert: Callable[[], str | None]) -> LoraEntry:
    """Return the entry with the low-noise file beside its own, or unchanged if it wants none or there is none.

    A high-noise file wants one if it is left to what it says of itself and has nothing for the low-noise expert. A twin
    is held to the LoRA folders as any file is.

    Args:
        entry: the row, its own file found.
        lora_folders: where its files lie.
        expert: tells which expert its file says it is for; asked only where there is a twin.
    """
    is_alone = entry.low_noise_path is None and entry.low_noise_weights is None
    if entry.path is None or not (entry.find_twin and entry.applies_to == "auto" and is_alone):
        return entry
    twin = twin_beside(entry.path)
    if twin is None or expert() != "high_noise":
        return entry
    return replace(entry, low_noise_path=find_lora(twin, lora_folders), found_twin=True)


def files_of(entries: Iterable[LoraEntry]) -> list[Path]:
    """Return the files of rows, the twins that would be brought along included."""
    files: list[Path | None] = []
    for entry in entries:
        twin = None if entry.path is None else twin_beside(entry.path)
        files += [entry.path, entry.low_noise_path, twin]
    return [file for file in files if file is not None]


def verify_hashes(entries: Iterable[LoraEntry]) -> None:
    """Refuse, by name, every file that is not the one its entry's hash was taken of."""
    changed = [
        f"{path} has sha256 {actual[:12]}…, the preset says {expected[:12]}…"
        for entry in entries
        for path, expected in ((entry.path, entry.sha256), (entry.low_noise_path, entry.low_noise_sha256))
        if path is not None and expected is not None and (actual := sha256_of(path)) != expected
    ]
    if changed:
        remedy = "Restore the file, write the preset again, or read it without verifying"
        raise StackError("preset", f"a LoRA has changed: {'; '.join(changed)}", remedy=remedy)


def sha256_of(path: str | Path) -> str:
    """Return the sha256 of a file in hexadecimal; computed once for a file that does not change."""
    file = Path(path)
    try:
        status = file.stat()
        return _sha256_of(file.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise StackError(file, f"cannot be read: {error}", expected="a LoRA file") from error


@lru_cache(maxsize=512)
def _sha256_of(file: Path, size: int, modified_ns: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _portable(path: str | Path) -> str:
    text = str(path)
    if not text.strip() or "\0" in text:
        raise StackError("path", f"{text!r} names no file", expected="a LoRA file")
    return PureWindowsPath(text).as_posix() if "\\" in text else text


def _real_path(candidate: str | Path, roots: Sequence[Path]) -> Path | None:
    """Return where `candidate` really is, links followed, if that is inside one of `roots`."""
    try:
        real = Path(candidate).resolve()
    except (OSError, RuntimeError):  # a loop of links
        return None
    return real if any(real.is_relative_to(root) for root in roots) else None


def _existing(candidates: Sequence[Path], name: str, roots: Sequence[Path]) -> Path:
    """Return the file that one of `candidates` is, or say which file beside any of them is most like it."""
    if (found := next(filter(_is_file, candidates), None)) is not None:
        return found.resolve()
    beside = {near for path in candidates for near in _names_in(path.parent)}
    places = ", ".join(map(str, roots)) or candidates[0].parent.resolve()
    is_folder = any(os.path.isdir(path) for path in candidates)
    embedded = () if roots else _embedded_loras()
    near = difflib.get_close_matches(candidates[0].name, sorted({*beside, *embedded} - {candidates[0].name}), n=1)
    expected = f"nearest: {near[0]!r}" if near else "a LoRA file"
    raise StackError(name, "is a folder" if is_folder else f"no such file in {places}", expected=expected)


def _embedded_loras() -> Mapping[str, Path]:
    from ..families.registry import embedded_loras  # the shell builds its options from stacks, and waits for no torch

    return embedded_loras()


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system knows
        return False
