"""The LoRA folders: from the path in a stack to a file that really lies inside one of them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath, PureWindowsPath

from ..errors import StackError


def find_lora(path: str | Path, folders: Sequence[str | Path] = ()) -> Path:
    """Return the real, absolute path of a LoRA file, refusing one that leaves the folders.

    Args:
        path: relative to one of the folders (the first that has it wins), or absolute inside one of them.
            Backslashes separate folders, as ComfyUI on Windows writes them.
        folders: where LoRAs may lie. Without any, `path` is taken as it is, relative to the working directory.
    """
    name = _portable(path)
    roots = [Path(folder).resolve() for folder in folders]
    if not roots:
        return _existing([Path(name)], str(path), ())
    candidates = [name] if PurePath(name).is_absolute() else [root / name for root in roots]
    allowed = [real for candidate in candidates if (real := _real_path(candidate, roots)) is not None]
    if (found := next(filter(_is_file, allowed), None)) is not None:
        return found
    foreign = PureWindowsPath(name).drive and not PurePath(name).is_absolute()  # C:/... on another system
    if foreign or len(allowed) < len(candidates):
        places = ", ".join(str(root) for root in roots)
        raise StackError(str(path), "leaves the LoRA folders", expected=f"a path inside {places}")
    return _existing(allowed, str(path), roots)


def relative_to_folders(path: Path, folders: Iterable[str | Path]) -> str:
    """Return `path` as a preset stores it: relative to the folder it lies in, with forward slashes, else absolute."""
    real = path.resolve()
    inside = [real.relative_to(root) for folder in folders if real.is_relative_to(root := Path(folder).resolve())]
    return min(inside, key=lambda relative: len(relative.parts), default=real).as_posix()


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
    near = difflib.get_close_matches(candidates[0].name, sorted(beside - {candidates[0].name}), n=1)
    expected = f"nearest: {near[0]!r}" if near else "a LoRA file"
    raise StackError(name, "is a folder" if is_folder else f"no such file in {places}", expected=expected)


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
