"""The files that a grid puts in the place of a row's own: one, a pair, a pattern, or the checkpoints of a training."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError
from ..experts.twins import pairs_among
from ..stack.entry import name_of_file
from ..wording import said

#: What stands for no file: the row is switched off.
NONE = "none"
#: What stands between the two files of a pair.
PAIR = " + "
_WHERE = "file"


@dataclass(frozen=True)
class LoraFile:
    """A file in the place of a row's own, with the low-noise one of a pair; none of either switches the row off."""

    path: Path | None = None
    low_noise_path: Path | None = None

    def __str__(self) -> str:
        return PAIR.join(str(path) for path in (self.path, self.low_noise_path) if path is not None) or NONE


def read_files(value: object, folder: Path | None = None) -> list[LoraFile]:
    """Return the files that one value of an axis stands for, checkpoints and what a pattern meets in natural order.

    Args:
        value: a path or name as in a row of a stack, "HIGH + LOW", "none", a pattern with *, or a folder; of a
            training's folder, each checkpoint and then what it has led to.
        folder: what paths are relative to, where something lies there.

    Raises:
        RequestError: it is no text, or nothing is met.
    """
    if not isinstance(value, str | Path) or not str(value).strip():
        raise RequestError(
            _WHERE, said("{value!r:.60} is no file", value=value), expected="a path, or none", remedy="Name a LoRA file"
        )
    text = str(value).strip()
    if text == NONE:
        return [LoraFile()]
    if PAIR in text:
        high, low = (_placed(part.strip(), folder) for part in text.split(PAIR, 1))
        return [LoraFile(high, low)]
    path = _placed(text, folder)
    if path.is_dir():
        return _paired(_in_folder(path), text)
    if any(mark in text for mark in "*?["):
        root = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)
        return _paired((file for file in root.glob(pattern) if file.is_file()), text)
    return [LoraFile(path)]


def short_names(files: Iterable[LoraFile]) -> list[str]:
    """Return what each file is called in a grid: its name, with its folder where names alone do not differ."""
    files = list(files)
    names = [_name(file) for file in files]
    if len({*names}) == len(names):
        return names
    return [
        name if file.path is None or names.count(name) == 1 else f"{file.path.parent.name}/{name}"
        for file, name in zip(files, names, strict=True)
    ]


def _name(file: LoraFile) -> str:
    return PAIR.join(name_of_file(path) for path in (file.path, file.low_noise_path) if path is not None) or NONE


def _placed(text: str, folder: Path | None) -> Path:
    """Return a path seen from a folder where it leads somewhere, else as it is: it may name an embedded LoRA."""
    path = Path(text).expanduser()
    if folder is None or path.is_absolute():
        return path
    there = folder / path
    return there.absolute() if there.exists() or any(mark in text for mark in "*?[") else path


def _in_folder(folder: Path) -> list[Path]:
    """Return the LoRA files of a folder; of a training's, those of each checkpoint before those it has led to."""
    return [*folder.glob("checkpoints/step-*/*.safetensors"), *folder.glob("step-*/*.safetensors"), *_own(folder)]


def _own(folder: Path) -> Iterable[Path]:
    return (file for file in folder.iterdir() if file.suffix == ".safetensors" and file.is_file())


def _paired(files: Iterable[Path], text: str) -> list[LoraFile]:
    """Return files in natural order, low-noise twins with their pairs; checkpoints before the file they led to."""
    found = sorted({file.absolute() for file in files}, key=lambda file: (-len(file.parts), _natural(file)))
    if not found:
        raise RequestError(
            _WHERE, said("{text!r:.200} meets no LoRA file", text=text), remedy="Correct the path or pattern"
        )
    pairs = pairs_among(map(str, found))
    seconds = {*pairs.values()}
    return [
        LoraFile(file, Path(pairs[str(file)]) if str(file) in pairs else None)
        for file in found
        if str(file) not in seconds
    ]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts step-9 before step-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", str(path))]
