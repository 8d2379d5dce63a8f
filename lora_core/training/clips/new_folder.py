"""A new folder for clips: nothing of anybody's is in the way."""

from __future__ import annotations

from pathlib import Path

from ...atomic import real_target
from ...errors import OutputError


def check_new_folder(folder: str | Path) -> None:
    """Raise unless a folder may be written: it is not there, or empty."""
    folder = Path(folder)
    target = real_target(folder)
    if target.is_dir():
        if any(target.iterdir()):
            raise OutputError(folder, "is not empty", expected="a new folder, or an empty one", remedy="Choose another")
    elif target.exists():
        raise OutputError(folder, "is a file", expected="a new folder, or an empty one", remedy="Choose another")
