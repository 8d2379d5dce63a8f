"""The written form of a stack: the JSON list people already use, and presets, which know their files by hash."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..atomic import write_text
from ..checks import parse_json, typed
from ..errors import StackError
from .entry import LoraEntry, free_name
from .finding import relative_to_folders, sha256_of, verify_hashes, with_found_files, with_twin

_FORM = '[{"path": ..., "weight": 0.8, "applies_to": "both"}]'
#: Rows beyond this are a slip of a program.
_MAX_ROWS = 1000


def entries_from_json(form: str | Sequence[object], where: str = "stack") -> tuple[LoraEntry, ...]:
    """Read the rows of a stack from JSON text, or from the list that it stands for; `where` names it in messages."""
    rows = parse_json(form, where, _FORM, StackError) if isinstance(form, str) else form
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise StackError(where, "no list of LoRAs", expected=_FORM)
    if len(rows) > _MAX_ROWS:
        raise StackError(where, f"{len(rows):,} LoRAs", expected=f"at most {_MAX_ROWS:,}")
    entries = [LoraEntry.from_json(row, f"{where} entry {i}") for i, row in enumerate(rows, 1)]
    taken = {entry.name for entry, row in zip(entries, rows, strict=True) if _is_named(row)}
    for i, row in enumerate(rows):
        if not _is_named(row):  # the file's name, which another row may have too
            entries[i] = replace(entries[i], name=free_name(entries[i].name, taken))
            taken.add(entries[i].name)
    return tuple(entries)


@typed(StackError)
def read_preset(
    path: str | Path, lora_folders: Sequence[str | Path] = (), *, verify: bool = True
) -> tuple[LoraEntry, ...]:
    """Read a preset or stack file, its LoRAs found and, where it knows their hashes, compared.

    Args:
        path: a JSON file.
        lora_folders: where its LoRAs lie, and nowhere else. Without any, paths are relative to the file's own folder.
        verify: False takes LoRAs that have changed since the preset was written.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise StackError(file, f"cannot be read: {error}", expected="a JSON file") from error
    rows = entries_from_json(text, str(file))
    entries = tuple(with_found_files(row, lora_folders, file.parent) for row in rows)
    if verify:
        verify_hashes(entries)
        return entries
    return tuple(replace(entry, sha256=None, low_noise_sha256=None) for entry in entries)


@typed(StackError)
def write_preset(entries: Iterable[LoraEntry], path: str | Path, lora_folders: Sequence[str | Path] = ()) -> Path:
    """Write the rows with the hash of each file, whole or not at all; paths relative to their LoRA folder.

    As a path, "-" is the standard output.
    """
    file = Path(path)
    rows = [_hashed_row(entry, lora_folders, file.parent) for entry in entries]
    write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", file)
    return file


def _is_named(row: object) -> bool:
    return isinstance(row, Mapping) and any(row.get(key) is not None for key in ("name", "adapter_name"))


def _hashed_row(entry: LoraEntry, lora_folders: Sequence[str | Path], beside: Path) -> dict[str, object]:
    """Return an entry's JSON with hashes and portable paths; the twin it would bring along is written out too."""
    from ..files.report import inspect_lora

    found = with_found_files(entry, lora_folders)
    path = found.path
    found = with_twin(found, lora_folders, lambda: None if path is None else inspect_lora(path).expert)
    row = found.to_json()
    for key, path in (("", found.path), ("low_noise_", found.low_noise_path)):
        if path is not None:
            row[f"{key}path"] = relative_to_folders(path, lora_folders or [beside])
            row[f"{key}sha256"] = sha256_of(path)
    return row
