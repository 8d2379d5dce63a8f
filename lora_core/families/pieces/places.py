"""Where the pieces of a model lie: its diffusers folder, and paths that were given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...checkpoints.checkpoint import read_json_file
from ...checkpoints.distributed import refusal_of
from ...errors import ModelError
from ...wording import said

INDEX = "model_index.json"


def index_of(root: Path) -> dict[str, object]:
    """Return what the `model_index.json` of a diffusers folder says."""
    index_file = root / INDEX
    if not index_file.is_file():
        if (refused := refusal_of(root)) is not None:
            raise ModelError(root, refused.what, expected=refused.expected, remedy=refused.remedy)
        expected = said("{index_file} of a diffusers model", index_file=index_file)
        raise ModelError(root, "is no diffusers model folder", expected=expected, remedy="Name that folder or a file")
    return read_json_file(index_file)


def read_index(root: Path, pipelines: Sequence[str], remedy: str) -> dict[str, object]:
    """Return what the `model_index.json` of a diffusers folder says, which must be of one of these pipelines."""
    index = index_of(root)
    pipeline = index.get("_class_name")
    if pipeline not in pipelines:
        raise ModelError(
            root / INDEX,
            said("is of the pipeline {pipeline!r}", pipeline=pipeline),
            expected=" or ".join(pipelines),
            remedy=remedy,
        )
    return index


def stated_shift(root: Path) -> float | None:
    """Return the shift that the scheduler of a diffusers folder states."""
    file = root / "scheduler" / "scheduler_config.json"
    config = read_json_file(file) if file.is_file() else {}
    shift = config.get("flow_shift", config.get("shift"))
    return float(shift) if isinstance(shift, int | float) else None


def needed(folder: Path) -> Path:
    """Return a folder that a model cannot be opened without, or say that it is missing."""
    if not folder.is_dir():
        raise ModelError(
            folder.parent,
            said("the folder {folder!r} is missing", folder=folder.name),
            expected=said("{folder}/config.json and weights", folder=folder),
            remedy="Download the model again",
        )
    return folder


def optional(folder: Path) -> Path | None:
    """Return a folder where it is there."""
    return folder if folder.is_dir() else None


def existing(path: str | Path, argument: str) -> Path:
    """Return the path that was given as an argument, or say that nothing is there."""
    found = Path(path).expanduser()
    if not found.exists():
        raise ModelError(
            found, said("no such file or folder, given as {argument}", argument=argument), remedy="Check the path"
        )
    return found
