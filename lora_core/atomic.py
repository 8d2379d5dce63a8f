"""Files that appear whole or not at all, and never in the place of anything but a file.

What is half-written carries a mark in its name and is locked by the run that writes it, so that the next run knows
what a killed one left behind.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError

#: What stands for the standard output where JSON may be written to it.
STDOUT = ("-", "/dev/stdout")

_MARKED = re.compile(r"\..*\.wanloom-[0-9a-f]{12}(\..*)?", re.DOTALL)
_LOCK = "lock"
#: What every file system in use allows a name.
_MAX_NAME_BYTES = 255
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda mode: not stat.S_ISREG(mode), "a device"),
)


def is_stdout(path: str | Path) -> bool:
    """Say whether a path stands for the standard output."""
    return str(path) in STDOUT


def write_text(text: str, path: str | Path) -> None:
    """Write a text file whole or not at all, or to the standard output."""
    if is_stdout(path):
        sys.stdout.write(text)
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_target(path: str | Path) -> Path:
    """Return the file that writing to `path` makes or replaces, links followed; raise unless it may be one."""
    path = Path(path)
    target = real_target(path)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    found = next((kind for is_kind, kind in _KINDS if is_kind(mode)), None)
    if found is not None:
        raise OutputError(path, f"{found} has this name", expected="a file, or a new name", remedy="Choose another")
    if not os.access(target, os.W_OK):
        raise OutputError(path, "may not be written to", remedy="Choose another name, or allow it")
    return target


def real_target(path: Path) -> Path:
    """Return what a path names, links followed, whether it is there or not; raise where nothing could be made."""
    try:
        target = Path(os.path.realpath(path))
        long = next((part for part in target.parts if len(os.fsencode(part)) > _MAX_NAME_BYTES), None)
        if long is not None:
            what = f"a name of {len(os.fsencode(long))} bytes"
            raise OutputError(f"{path!s:.60}…", what, expected=f"at most {_MAX_NAME_BYTES}", remedy="Shorten it")
        folder = next(folder for folder in target.parents if os.path.lexists(folder))
        if not folder.is_dir():
            raise OutputError(
                path, f"{folder} is a file", expected="a folder to write into", remedy="Choose another path"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(path, f"may not write into {folder}", remedy="Choose a folder you may write to")
        with suppress(FileNotFoundError):
            target.stat()
    except (OSError, ValueError) as error:
        raise OutputError(path, f"cannot be written: {error}", remedy="Choose another path") from error
    return target


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path of the same suffix to write to; it takes the place of `path` when the block ends well.

    Missing folders are made, and a link stays one: what it leads to is replaced. Whatever goes wrong before, an
    interrupt too, leaves `path` as it was and no temporary file.
    """
    path, target = Path(path), check_target(path)
    with _written(path):
        _prepare(target.parent)
        temporary = target.parent / _marked_name(target)
        handle = _hold(temporary)
        try:
            yield temporary
            _flush(temporary)
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
        finally:
            os.close(handle)
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def replacing_folder(path: str | Path, check: Callable[[], None]) -> Iterator[Path]:
    """Do for a folder what `replacing` does for a file; `check` raises while what is there may not be replaced."""
    path, target = Path(path), real_target(Path(path))
    check()
    with _written(path):
        _prepare(target.parent)
        scratch = target.parent / _marked_name(target.with_suffix(""))
        scratch.mkdir(mode=0o700)
        handle = _hold(scratch / _LOCK)
        new, old = scratch / "new", scratch / "old"
        try:
            yield new
            check()
            if target.exists():
                os.replace(target, old)
            os.replace(new, target)
        finally:
            if old.exists() and not target.exists():
                os.replace(old, target)
            os.close(handle)
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Say of what goes wrong that the path cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(path, f"cannot be written: {error}", remedy="Free space or choose another path") from error


def _prepare(folder: Path) -> None:
    """Make a folder, and remove from it what runs that were killed have left."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        for name in filter(_MARKED.fullmatch, os.listdir(folder)):
            with suppress(OSError):
                _remove_if_abandoned(folder / name)


def _remove_if_abandoned(path: Path) -> None:
    lock = path / _LOCK if path.is_dir() else path
    if (path / "old").exists():  # killed between two renames: it holds all there is of an earlier result
        return
    handle = os.open(lock, os.O_RDWR)
    try:
        if not _lock(handle, wait=False):
            return
        if sys.platform != "win32":  # there an open file cannot be removed, which is what tells of a living run
            lock.unlink()
    finally:
        os.close(handle)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _marked_name(target: Path) -> str:
    return f".{target.stem[:40]}.wanloom-{secrets.token_hex(6)}{target.suffix}"


def _hold(path: Path) -> int:
    """Make a file and lock it for as long as the handle returned is open."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        _lock(handle, wait=True)
        if os.fstat(handle).st_nlink:  # else another run took it for abandoned before it was locked
            return handle
        os.close(handle)


if sys.platform == "win32":

    def _lock(handle: int, *, wait: bool) -> bool:
        """Say that a file can be had: who has it open is known by the system, which does not let it be removed."""
        return True

else:
    import fcntl

    def _lock(handle: int, *, wait: bool) -> bool:
        """Lock an open file, or return False where somebody has and it is not waited for."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks, where nothing can be told abandoned
            return wait
        return True


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on the disk, so that a power cut cannot leave a new name on old nothing."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
