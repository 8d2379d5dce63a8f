"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path of the same suffix to write to; it takes the place of `path` when the block ends well.

    Whatever goes wrong before, an interrupt too, leaves `path` as it was and no temporary file.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:40]}.", suffix=target.suffix)
        os.close(handle)
    except (OSError, ValueError) as error:
        raise OutputError(target, f"cannot be written: {error}", remedy="Choose a folder that can be") from error
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(target, f"cannot be written: {error}", remedy="Free space or choose another path") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on the disk, so that a power cut cannot leave a new name on old nothing."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
