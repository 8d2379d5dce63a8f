"""Files known by their hash: a preset's LoRAs, compared with what lies on the disk now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ..errors import StackError
from ..wording import said
from .entry import LoraEntry

#: A file, and what its hash has to be, where that is known.
Known = tuple[Path | None, str | None]


def verify_hashes(entries: Iterable[LoraEntry]) -> None:
    """Refuse, by name, every file that is not the one its entry's hash was taken of, a LoRA's or a mask's."""
    on = [entry for entry in entries if entry.enabled]
    loras = [known for entry in on for known in _loras(entry)]
    masks = [(entry.region.path, entry.mask_sha256) for entry in on if entry.region is not None]
    remedy = "Restore the file, write the preset again, or read it without verifying"
    if changed := _changed(loras):
        raise StackError("preset", said("a LoRA has changed: {changed}", changed="; ".join(changed)), remedy=remedy)
    if changed := _changed(masks):
        raise StackError("preset", said("a mask has changed: {changed}", changed="; ".join(changed)), remedy=remedy)


def _loras(entry: LoraEntry) -> Iterable[Known]:
    return (entry.path, entry.sha256), (entry.low_noise_path, entry.low_noise_sha256)


def _changed(files: Iterable[Known]) -> list[str]:
    """Return a line for each file that is not the one its hash was taken of."""
    return [
        f"{path} has sha256 {actual[:12]}…, the preset says {expected[:12]}…"
        for path, expected in files
        if path is not None and expected is not None and (actual := sha256_of(path)) != expected
    ]


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
