"""The files beside a LoRA file that tell of it: which names they may have, and which of them are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

#: Suffix of a preview -> (what it is, as a page is told it).
PREVIEWS: Mapping[str, tuple[Literal["image", "video"], str]] = {
    ".webp": ("image", "image/webp"),
    ".png": ("image", "image/png"),
    ".jpeg": ("image", "image/jpeg"),
    ".jpg": ("image", "image/jpeg"),
    ".gif": ("image", "image/gif"),
    ".mp4": ("video", "video/mp4"),
    ".webm": ("video", "video/webm"),
}

#: What stands between the name and a preview's suffix: `name.preview.png` of the Civitai helpers, `name.png` of all.
_MARKS = (".preview", "", ".example")

#: The names in a folder: in small letters -> as they are.
Names = Mapping[str, str]


def names_in(folder: Path) -> Names:
    """Return the names in a folder; none where it cannot be read."""
    try:
        return {name.lower(): name for name in os.listdir(folder)}
    except OSError:
        return {}


def preview_of(path: Path, names: Names) -> Path | None:
    """Return the picture or video that shows what a LoRA does."""
    stems = (path.stem.lower(), path.name.lower())
    wanted = (f"{stem}{mark}{suffix}" for stem in stems for mark in _MARKS for suffix in PREVIEWS)
    return next((path.with_name(names[name]) for name in wanted if name in names), None)


def file_beside(path: Path, ending: str, names: Names) -> Path | None:
    """Return the file called as a LoRA with another ending; `*` in it stands for the LoRA's own suffix."""
    name = f"{path.stem}{ending.replace('*', path.suffix)}".lower()
    return path.with_name(names[name]) if name in names else None
