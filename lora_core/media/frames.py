"""A folder of frames: PNG files, and beside them a record by which runs know their own from a person's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic import real_target, replacing_folder
from ..errors import OutputError

_FRAME_NAME = "frame_{:05d}.png"
_RECORD_NAME = "frames.json"
_MAKER = "wanloom"


def write_frames(frames: np.ndarray, path: Path, fps: float) -> None:
    """Write frames (T, H, W, 3) into a new folder, with the hash of each."""
    path.mkdir()
    hashes = {}
    for index, frame in enumerate(frames):
        file = path / _FRAME_NAME.format(index)
        Image.fromarray(frame).save(file)
        hashes[file.name] = _sha256(file)
    record = {"made_by": _MAKER, "frames": hashes}
    (path / _RECORD_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@contextmanager
def replacing_frames(path: Path) -> Iterator[Path]:
    """Give the path of a new folder, which takes the place of `path` when the block ends well."""
    with replacing_folder(path, lambda: check_folder(path)) as temporary:
        yield temporary


def check_folder(path: Path) -> None:
    """Raise unless frames may come to `path`: nothing is there, or what a run of ours wrote, unchanged."""
    target = real_target(path)
    if not target.exists():
        return
    found = _foreign_in(target) if target.is_dir() else "a file has this name"
    if found:
        raise OutputError(path, found, expected="a new name, or frames of an earlier run", remedy="Choose another")


def _foreign_in(folder: Path) -> str:
    """Say what in a folder no run of ours wrote, or has been changed since; "" where there is nothing of the kind."""
    known = _recorded(folder / _RECORD_NAME)
    for file in sorted(folder.iterdir()):
        is_ours = file.is_file() and not file.is_symlink()
        if file.name == _RECORD_NAME and known and is_ours:
            continue
        if not is_ours or known.get(file.name) != _sha256(file):
            return f"the folder holds {file.name!r}, which no earlier run wrote so"
    return ""


def _recorded(file: Path) -> dict[str, object]:
    """Return name -> hash of what a record tells, nothing where there is no record of ours."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    frames = record.get("frames") if isinstance(record, dict) and record.get("made_by") == _MAKER else None
    return frames if isinstance(frames, dict) else {}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
