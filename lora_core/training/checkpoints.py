"""Checkpoints of a training: folders that appear whole or not at all, and from which it goes on bit for bit."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..atomic import remove_folder, replacing_folder
from ..checkpoints.hashes import file_sha256
from ..checks import first_line
from ..errors import TrainingError
from ..wording import said

#: A change of what is stored, which older checkpoints do not have.
FORMAT = 1
_STATE, _MANIFEST = "state.pt", "manifest.json"
#: By what the errors of torch's writer are known, which says nothing of a full disk.
_WRITER_WORDS = ("inline_container", "PytorchStreamWriter")
_NAME = re.compile(r"step-(\d{6,})")


def checkpoint_name(step: int) -> str:
    """Return the name of the folder of a step's checkpoint."""
    return f"step-{step:06d}"


def step_of(folder: Path) -> int:
    """Return the number of steps that were done when a checkpoint was made."""
    found = _NAME.fullmatch(folder.name)
    if found is None:
        raise TrainingError(
            folder, "is no checkpoint", expected="a folder such as step-000100", remedy="Choose such a folder"
        )
    return int(found[1])


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()), key=step_of)


def write_checkpoint(
    folder: Path, step: int, state: Mapping[str, Any], write_files: Callable[[Path], object] = lambda folder: None
) -> Path:
    """Write the checkpoint of a step: its state, and whatever else belongs into its folder.

    The manifest, which has the size and hash of every file, is written last; then the folder takes its name.
    """
    path = folder / checkpoint_name(step)
    with replacing_folder(path, lambda: None) as temporary:
        temporary.mkdir()
        _save({"format": FORMAT, "step": step, "random": random_state(), **state}, temporary / _STATE)
        write_files(temporary)
        files = sorted(file for file in temporary.rglob("*") if file.is_file())
        manifest = {str(file.relative_to(temporary)): [file.stat().st_size, file_sha256(file)] for file in files}
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return path


def _save(state: Mapping[str, Any], file: Path) -> None:
    try:
        torch.save(dict(state), file)
    except RuntimeError as error:
        if not any(word in str(error) for word in _WRITER_WORDS):
            raise
        raise OSError(f"torch cannot write all of it, {first_line(error)}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state in a checkpoint, or say which file of it is damaged."""
    _check_files(path)
    try:
        state: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # a whole file of another make: torch raises half a dozen kinds
        raise TrainingError(
            path / _STATE, said("cannot be read: {error}", error=first_line(error)), remedy=_other(path)
        ) from error
    if state.get("format") != FORMAT:
        what = said("was written in form {state}", state=state.get("format"))
        raise TrainingError(path, what, expected=f"{FORMAT}", remedy="Go on with the version that wrote it")
    return state


def prune(folder: Path, *, keep_last: int, keep_every: int, also: Path | None) -> None:
    """Remove checkpoints but the latest, those at multiples of `keep_every`, and one more."""
    paths = checkpoints_in(folder)
    for path in paths[:-keep_last]:
        if path != also and not (keep_every and step_of(path) % keep_every == 0):
            remove_folder(path)


def random_state() -> dict[str, Any]:
    """Return the state of every source of random numbers in the process."""
    numpy_state: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = numpy_state
    version, numbers, gauss = random.getstate()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Let every source of random numbers go on from a state."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _check_files(path: Path) -> None:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        rows = {str(name): (int(size), str(digest)) for name, (size, digest) in manifest.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            path, said("its {manifest} is missing or damaged", manifest=_MANIFEST), remedy=_other(path)
        ) from error
    for name, (size, digest) in rows.items():
        file = path / name
        there = file.stat().st_size if file.is_file() else 0
        if there != size:
            raise TrainingError(
                file, said("has {there:,} of {size:,} bytes", there=there, size=size), remedy=_other(path)
            )
        if file_sha256(file) != digest:
            raise TrainingError(file, "holds other bytes than were written", remedy=_other(path))


def _other(path: Path) -> str:
    """Say what to do about a damaged checkpoint."""
    before = [other for other in checkpoints_in(path.parent) if step_of(other) < step_of(path)]
    if before:
        return f"Remove the folder {path.name} to go on from {before[-1].name}"
    return f"Remove the folder {path.name} and start again"
