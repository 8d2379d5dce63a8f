"""The folders of the host: where LoRAs, models and the user's presets lie, and how files there are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import folder_paths

from ..lora_core.families.wan.pocket import POCKET_LORAS, pocket_lora, pocket_paths
from ..lora_core.files.containers.opening import CONTAINERS


def lora_folders() -> list[Path]:
    """Return where LoRAs may lie: the host's own folders, then the pocket's."""
    return [*map(Path, folder_paths.get_folder_paths("loras")), pocket_paths().loras]


def lora_files() -> list[str]:
    """Return the names of all LoRA files: the user's, then the pocket's."""
    return list(_with_pocket(tuple(folder_paths.get_filename_list("loras"))))


@lru_cache(maxsize=2)
def _with_pocket(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the LoRA files of a list and the pocket's; the host asks for them at every run."""
    own = [name for name in names if Path(name).suffix.lower() in CONTAINERS]
    pocket = [pocket_lora(name, expert).name for name, experts in POCKET_LORAS.items() for expert in experts]
    return (*own, *(name for name in pocket if name not in own))


def preset_folder() -> Path:
    """Return where stack presets are kept, under the user's own folder of the host."""
    return Path(folder_paths.get_user_directory()) / "default" / "wanloom" / "stacks"


def mask_folders() -> list[Path]:
    """Return where the masks of regions may lie beside LoRAs: where the user uploads pictures, and with presets."""
    return [Path(folder_paths.get_input_directory()), preset_folder()]


def trainings_folder() -> Path:
    """Return where trainings are kept, each in a folder of its name."""
    return Path(folder_paths.get_output_directory()) / "wanloom" / "training"


def fingerprint(paths: Iterable[Path | str | None]) -> tuple[tuple[str, int, int], ...]:
    """Return (path, size, time of change) of files, for the host to see that one was replaced."""
    seen = []
    for path in paths:
        if path is None:
            continue
        try:
            status = Path(path).stat()
            seen.append((str(path), status.st_size, status.st_mtime_ns))
        except OSError:
            seen.append((str(path), -1, -1))
    return tuple(seen)
