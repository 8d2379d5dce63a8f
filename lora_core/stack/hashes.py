"""Files known by their hash: a preset's LoRAs, compared with what lies on the disk now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ..errors import StackError
from ..wording import said
from .entry import LoraEntry


def verify_hashes(entries: Iterable[LoraEntry]) -> None:
    """Refuse, by name, every file that is not the one its entry's hash was taken of."""
    changed = [
        f"{path} has sha256 {actual[:12]}…, the preset says {expected[:12]}…"
        for entry in entries
        for path, expected in ((entry.path, entry.sha256), (entry.low_noise_path, entry.low_noise_sha256))
        if entry.enabled and path is not None and expected is not None and (actual := sha256_of(path)) != expected
    ]
    if changed:
        remedy = "Restore the file, write the preset again, or read it without verifying"
        raise StackError("preset", said("a LoRA has changed: {changed}", changed="; ".join(changed)), remedy=remedy)


def sha256_of(path: str | Path) -> str:
    """Return the sha256 of a file in hexadecimal; computed once for a file that does not change."""
    file = Path(path)
    try:
        status = file.stat()
        return _sha256_of(file.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise StackError(
            file, said("cannot be read: {error}", error=error), expected="a LoRA file", remedy="Check its permissions"
        ) from error


@lru_cache(maxsize=512)
def _sha256_of(file: Path, size: int, modified_ns: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
