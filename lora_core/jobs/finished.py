"""Whether a job was finished by an earlier run: its video is the one of its record, and that was asked for the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoints.hashes import file_sha256

#: Where a file lies is no part of what was asked: its hash stands beside it.
_PLACES = frozenset({"path", "low_noise_path"})


def is_finished(output: Path, record_file: Path, asked: Mapping[str, object]) -> bool:
    """Say whether output and record are there, belong together, and agree with what is asked now.

    Args:
        output: a file, or a folder of frames.
        record_file: what `output_row` is part of.
        asked: entries of the record, as they would be written now; of guardrail and refiner the names alone.
    """
    try:
        record = json.loads(record_file.read_bytes())
        if record["output"]["sha256"] != output_sha256(output):
            return False
        record = _as_it_was_asked(record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
    now = json.loads(json.dumps(asked))
    return all(without_places(record.get(key)) == without_places(value) for key, value in now.items())


def _as_it_was_asked(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the prompt that its refiner was given, and the names of those that looked at it."""
    told = {key: record.get(key) or {} for key in ("guardrail", "refiner")}
    asked = {**record, **{key: row.get("by") for key, row in told.items()}}
    if told["refiner"]:
        asked["request"] = {**record["request"], "prompt": told["refiner"]["given"]}
    return asked


def output_row(output: Path) -> dict[str, object]:
    """Return what a record says of the video beside it."""
    return {"name": output.name, "sha256": output_sha256(output)}


def output_sha256(output: Path) -> str:
    """Return the sha256 of a file, or of the names and hashes of a folder's files."""
    if not output.is_dir():
        return file_sha256(output)
    rows = (f"{file.name} {file_sha256(file)}" for file in sorted(output.iterdir()) if file.is_file())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def without_places(value: object) -> object:
    """Return plain data without where files lie."""
    if isinstance(value, dict):
        return {key: without_places(inner) for key, inner in value.items() if key not in _PLACES}
    return [without_places(inner) for inner in value] if isinstance(value, list) else value
