"""The written form of a stack: the JSON list people already use, and presets, which know their files by hash."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..atomic import write_text
from ..checks import parse_json, typed
from ..errors import StackError
from ..wording import said
from .entry import LoraEntry, free_name
from .finding import relative_to_folders
from .hashes import sha256_of, verify_hashes
from .row_files import files_named, with_found_files, with_twin
from .rows import FORM, is_named, rows_of

#: Rows beyond this are a slip of a program.
_MAX_ROWS = 1000


def entries_from_json(form: object, where: str = "stack") -> tuple[LoraEntry, ...]:
    """Read the rows of a stack from JSON text, or from what it stands for; `where` names it in messages."""
    rows = rows_of(parse_json(form, where, FORM, StackError) if isinstance(form, str | bytes) else form, where)
    if len(rows) > _MAX_ROWS:
        raise StackError(
            where,
            said("{count:,} LoRAs", count=len(rows)),
            expected=said("at most {most:,}", most=_MAX_ROWS),
            remedy="Remove some",
        )
    entries = [LoraEntry.from_json(row, f"{where} entry {i}") for i, row in enumerate(rows, 1)]
    taken = {entry.name for entry, row in zip(entries, rows, strict=True) if is_named(row)}
    for i, row in enumerate(rows):
        if not is_named(row):  # the file's name, which another row may have too
            entries[i] = replace(entries[i], name=free_name(entries[i].name, taken))
            taken.add(entries[i].name)
    return tuple(entries)


@typed(StackError)
def read_preset(
    path: str | Path,
    lora_folders: Sequence[str | Path] = (),
    *,
    mask_folders: Sequence[str | Path] = (),
    verify: bool = True,
    download: bool = False,
) -> tuple[LoraEntry, ...]:
    """Read a preset or stack file, its LoRAs found and, where it knows their hashes, compared.

    Args:
        path: a JSON file.
        lora_folders: where its LoRAs lie, and nowhere else. Without any, paths are relative to the file's own folder.
        mask_folders: where the masks of its regions may lie too.
        verify: False takes LoRAs that have changed since the preset was written.
        download: fetch repositories on Hugging Face that the local cache lacks.
    """
    file = Path(path).expanduser()
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        raise StackError(
            file, said("cannot be read: {error}", error=error), expected="a JSON file", remedy="Choose another file"
        ) from error
    rows = entries_from_json(data, str(file))
    find = partial(with_found_files, mask_folders=mask_folders, download=download)
    entries = tuple(find(row, lora_folders, file.parent) for row in rows)
    if verify:
        verify_hashes(entries)
        return entries
    return tuple(replace(entry, sha256=None, low_noise_sha256=None, mask_sha256=None) for entry in entries)


@typed(StackError)
def write_preset(
    entries: Iterable[LoraEntry],
    path: str | Path,
    lora_folders: Sequence[str | Path] = (),
    *,
    mask_folders: Sequence[str | Path] = (),
) -> Path:
    """Write the rows with the hash of each file, whole or not at all; paths relative to their LoRA folder.

    As a path, "-" is the standard output.
    """
    file = Path(path)
    found = [with_found_files(entry, lora_folders, mask_folders=mask_folders) for entry in entries]
    taken = files_named(found)
    paired = [_with_its_twin(entry, lora_folders, taken) if entry.enabled else entry for entry in found]
    rows = [_hashed_row(entry, lora_folders, mask_folders, file.parent) for entry in paired]
    write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", file)
    return file


def _hashed_row(
    entry: LoraEntry, lora_folders: Sequence[str | Path], mask_folders: Sequence[str | Path], beside: Path
) -> dict[str, object]:
    """Return the JSON of an entry whose files were found, with their hashes and portable paths."""
    row = entry.to_json()
    for key, path in (("", entry.path), ("low_noise_", entry.low_noise_path)):
        if path is not None and (entry.enabled or path.is_file()):
            row[f"{key}path"] = relative_to_folders(path, lora_folders or [beside])
            row[f"{key}sha256"] = sha256_of(path)
    if (region := entry.region) is not None and region.path is not None:
        folders = [*mask_folders, *lora_folders] or [beside]
        row["region"] = region.at(Path(relative_to_folders(region.path, folders))).to_json()
        if entry.enabled or region.path.is_file():
            row["mask_sha256"] = sha256_of(region.path)
    return row


def _with_its_twin(entry: LoraEntry, lora_folders: Sequence[str | Path], taken: Container[Path]) -> LoraEntry:
    """Return an entry with the twin it would bring along, to be written out too."""
    from ..files.report import inspect_lora

    path = entry.path
    return with_twin(entry, lora_folders, lambda: None if path is None else inspect_lora(path).expert, taken)
