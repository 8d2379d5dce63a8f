"""The zip archive that `torch.save` writes, looked into before torch maps it into memory as if it were plain."""

from __future__ import annotations

import zipfile
from pathlib import Path

_INDEX_NAME = "data.pkl"
_MAGIC = b"PK\x03\x04"


def is_archive(path: Path) -> bool:
    """Say whether torch takes a file for an archive; what else it reads is a bare pickle."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def archive_fault(path: Path) -> str:
    """Say why the tensors of a zip archive cannot be mapped as they lie there; "" where they can."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = [e for e in entries if e.compress_type != zipfile.ZIP_STORED or e.compress_size != e.file_size]
            if packed:
                return f"its entries are compressed, first {packed[0].filename!r:.60}"
            if any(entry.flag_bits & 1 for entry in entries):
                return "its entries are encrypted"
            if len({entry.filename for entry in entries}) < len(entries):
                return "an entry stands twice in it"
            for entry in entries:
                if entry.filename.endswith(f"/{_INDEX_NAME}"):
                    archive.read(entry)  # compares the checksum: torch does not where it maps
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, EOFError) as error:
        return f"it is a damaged zip archive: {error}"
    return ""
