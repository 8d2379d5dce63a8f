"""The hashes of a model's files, each computed once: those of large models take as long as a short video."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ..atomic import replacing
from ..errors import ModelError, OutputError
from ..wording import said

#: File -> [its size, when it was last written in nanoseconds, its sha256].
Table = dict[str, list[int | str]]
#: A table that only grows would slow every run down; the oldest rows go first.
_MAX_ROWS = 1000


def hashes_of(pieces: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each piece of a model, a file or a folder, in hexadecimal.

    The hash of a folder is that of its files' names and hashes. Hashes are kept in the user's cache folder, and count
    as long as a file's size and time stay as they were.
    """
    kept = _read_table()
    files = {piece: _files_of(path) for piece, path in pieces.items()}
    table = {str(file): _row(file, kept) for file in {file for inside in files.values() for file in inside}}
    if any(kept.get(name) != row for name, row in table.items()):
        _write_table({**{name: row for name, row in kept.items() if name not in table}, **table})
    return {piece: _joined(pieces[piece], inside, table) for piece, inside in files.items()}


def cache_file() -> Path:
    """Return where hashes are kept: in $XDG_CACHE_HOME, else where the system keeps what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path("~/.cache").expanduser()
    return Path(home) / "wanloom" / "sha256.json"


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path.resolve()]
    return sorted(file.resolve() for file in path.rglob("*") if file.is_file())


def _row(file: Path, kept: Mapping[str, list[int | str]]) -> list[int | str]:
    try:
        status = file.stat()
        row = kept.get(str(file), [])
        if row[:2] == [status.st_size, status.st_mtime_ns]:
            return row
        return [status.st_size, status.st_mtime_ns, file_sha256(file)]
    except OSError as error:
        raise ModelError(
            file, said("cannot be read: {error}", error=error.strerror or error), remedy="Check its permissions"
        ) from error


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _joined(piece: Path, files: Iterable[Path], table: Table) -> str:
    if piece.is_file():
        return str(table[str(piece.resolve())][2])
    root = piece.resolve()
    lines = (f"{os.path.relpath(file, root)} {table[str(file)][2]}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_table() -> Table:
    """Return what is kept; nothing where there is no table, or one that is damaged."""
    try:
        table = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: row for name, row in table.items() if _is_row(row)} if isinstance(table, dict) else {}


def _is_row(row: object) -> bool:
    return isinstance(row, list) and [type(value) for value in row] == [int, int, str]


def _write_table(table: Table) -> None:
    """Keep the hashes; where nothing may be written they are computed again."""
    rows = dict(list(table.items())[-_MAX_ROWS:])
    with suppress(OSError, OutputError):
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache_file()) as temporary:
            temporary.write_text(json.dumps(rows, indent=0), encoding="utf-8")
