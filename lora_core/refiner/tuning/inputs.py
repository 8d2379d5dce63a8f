"""What a tuning is made from: hashes of its rows and its base, so that one that goes on is known to be the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ...atomic import write_text
from ...checkpoints.hashes import file_sha256, hashes_of
from ...checks import parse_json
from ...errors import TrainingError
from ...wording import said
from ..instructions import find_instructions
from ..sources import LanguageSource
from .config import TuneConfig

#: The files of rows, by the keys that name them.
_ROWS = ("rows", "held_out_rows", "rehearsal_rows")


def inputs_of(config: TuneConfig, source: LanguageSource) -> dict[str, str]:
    """Return the sha256 of each file of rows, of the base, and of the system prompt where there is one."""
    files = {key: Path(str(value)) for key in _ROWS if (value := config.values().get(key))}
    text = find_instructions(config.system).text
    system = {"system": hashlib.sha256(text.encode()).hexdigest()} if text else {}
    return {**{key: file_sha256(file) for key, file in files.items()}, **system, **hashes_of({"model": source.base})}


def write_inputs(inputs: dict[str, str], path: Path) -> None:
    """Store the hashes of a tuning that begins."""
    write_text(json.dumps(inputs, indent=1) + "\n", path)


def check_inputs(inputs: dict[str, str], path: Path) -> None:
    """Raise where a tuning began with other rows, or on another base.

    Raises:
        TrainingError: which of them have changed.
    """
    if not path.is_file():
        raise TrainingError(path, "is missing", remedy="Start anew in another folder")
    stored = parse_json(path.read_bytes(), str(path), "what a training wrote", TrainingError)
    known = stored if isinstance(stored, dict) else {}
    if changed := [key for key in inputs if known.get(key) != inputs[key]]:
        what = said("what the training here began with has changed: {names}", names=", ".join(changed))
        raise TrainingError(path.parent, what, remedy="Put it back, or start anew in another folder")
