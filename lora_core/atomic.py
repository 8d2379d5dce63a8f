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
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .errors import OutputError
from .wording import said

#: What stands for the standard output where JSON may be written to it.
STDOUT = ("-", "/dev/stdout")

_MARKED = re.compile(r"\..*\.wanloom-[0-9a-f]{12}", re.DOTALL)
_LOCK, _OLD, _BEFORE = ".wanloom-lock", ".wanloom-old", ".wanloom-before"
#: Within this time any run that lives has locked its folder, or is done with removing it.
_SECONDS_TO_MAKE = 10.0
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
        raise OutputError(
            path, said("{found} has this name", found=found), expected="a file, or a new name", remedy="Choose another"
        )
    if not os.access(target, os.W_OK):
        raise OutputError(path, "may not be written to", remedy="Choose another name, or allow it")
    return target


def real_target(path: Path) -> Path:
    """Return what a path names, links followed, whether it is there or not; raise where nothing could be made."""
    try:
        target = Path(os.path.realpath(path))
        long = next((part for part in target.parts if len(os.fsencode(part)) > _MAX_NAME_BYTES), None)
        if long is not None:
            what = said("a name of {count} bytes", count=len(os.fsencode(long)))
            raise OutputError(
                f"{path!s:.60}…",
                what,
                expected=said("at most {most}", most=_MAX_NAME_BYTES),
                remedy="Shorten it",
            )
        folder = next(folder for folder in target.parents if os.path.lexists(folder))
        if not folder.is_dir():
            raise OutputError(
                path,
                said("{folder} is a file", folder=folder),
                expected="a folder to write into",
                remedy="Choose another path",
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(
                path, said("may not write into {folder}", folder=folder), remedy="Choose a folder you may write to"
            )
        with suppress(FileNotFoundError):
            target.stat()
    except (OSError, ValueError) as error:
        raise OutputError(
            path, said("cannot be written: {error}", error=error), remedy="Choose another path"
        ) from error
    return target


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path of the same suffix to write to; it takes the place of `path` when the block ends well.

    Missing folders are made, and a link stays one: what it leads to is replaced. Whatever goes wrong before, an
    interrupt too, leaves `path` as it was and no temporary file.
    """
    path, target = Path(path), check_target(path)
    with _written(path), _scratch(target) as scratch:
        temporary = scratch / target.name
        mode = _begun(temporary, target)
        yield temporary
        temporary.chmod(mode)
        _flush(temporary)
        os.replace(temporary, target)


@contextmanager
def replacing_all(paths: Sequence[str | Path]) -> Iterator[tuple[Path, ...]]:
    """Do for files that belong together what `replacing` does for one: all take their places, or none does.

    A kill between two renames is the one thing that can leave some new and some old, each of them whole.
    """
    targets = [check_target(path) for path in paths]
    with _written(Path(paths[0])), ExitStack() as held:
        scratches = [held.enter_context(_scratch(target)) for target in targets]
        new = tuple(scratch / target.name for scratch, target in zip(scratches, targets, strict=True))
        modes = [_begun(temporary, target) for temporary, target in zip(new, targets, strict=True)]
        yield new
        for temporary, mode in zip(new, modes, strict=True):
            temporary.chmod(mode)
            _flush(temporary)
        old = [_kept(target, scratch) for target, scratch in zip(targets, scratches, strict=True)]
        with ExitStack() as undo:
            for temporary, target, before in zip(new, targets, old, strict=True):
                os.replace(temporary, target)
                undo.callback(_put_back, target, before)
            undo.pop_all()


def _begun(temporary: Path, target: Path) -> int:
    """Make an empty file, and return the permissions that it shall have in the end, those of what it replaces.

    A library may put a file of its own in its place: safetensors 0.8 writes files that nobody else may read.
    """
    temporary.touch()
    return stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)


def _kept(target: Path, scratch: Path) -> Path | None:
    """Keep what a file is now in a scratch folder, as a second name for it where the system has such; None of none."""
    if not target.exists():
        return None
    kept = scratch / _BEFORE
    try:
        os.link(target, kept)
    except OSError:
        shutil.copy2(target, kept)
    return kept


def _put_back(target: Path, before: Path | None) -> None:
    if before is None:
        target.unlink()
    else:
        os.replace(before, target)


@contextmanager
def replacing_folder(path: str | Path, check: Callable[[], None]) -> Iterator[Path]:
    """Do for a folder what `replacing` does for a file; `check` raises while what is there may not be replaced."""
    path, target = Path(path), real_target(Path(path))
    check()
    with _written(path), _scratch(target) as scratch:
        new, old = scratch / target.name, scratch / _OLD
        yield new
        for file in filter(Path.is_file, new.rglob("*")):
            _flush(file)
        check()
        try:
            if target.exists():
                os.replace(target, old)
            os.replace(new, target)
        finally:
            if old.exists() and not target.exists():
                os.replace(old, target)


def remove_folder(path: str | Path) -> None:
    """Remove a folder at once for all who look at its name, however the program ends meanwhile."""
    path = Path(path)
    with _written(path), _scratch(path) as scratch:
        os.replace(path, scratch / path.name)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Say of what goes wrong that the path cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            path, said("cannot be written: {error}", error=error), remedy="Free space or choose another path"
        ) from error


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` for what is half-written, a library's own temporary files included."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    scratch, handle = _locked_folder(target)
    try:
        yield scratch
    finally:
        os.close(handle)
        shutil.rmtree(scratch, ignore_errors=True)


def _locked_folder(target: Path) -> tuple[Path, int]:
    """Make a marked folder beside `target` and return it with the handle that holds its lock while it is open."""
    while True:
        scratch = target.parent / f".{target.stem[:40]}.wanloom-{secrets.token_hex(6)}"
        scratch.mkdir(mode=0o700)
        handle = os.open(scratch / _LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        _lock(handle, wait=True)
        if os.fstat(handle).st_nlink:  # else another run took it for abandoned before it was locked
            return scratch, handle
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove from a folder what runs that were killed have left."""
    with suppress(OSError):
        for name in filter(_MARKED.fullmatch, os.listdir(folder)):
            with suppress(OSError):
                _remove_if_abandoned(folder / name)


def _remove_if_abandoned(scratch: Path) -> None:
    if (scratch / _OLD).exists():  # killed between two renames: it holds all there is of an earlier result
        return
    if not (scratch / _LOCK).exists():  # killed as it was made or removed, or this moment being so by a living run
        if time.time() - scratch.stat().st_mtime > _SECONDS_TO_MAKE:
            shutil.rmtree(scratch)
        return
    handle = os.open(scratch / _LOCK, os.O_RDWR)
    try:
        if not _lock(handle, wait=False):
            return
        if sys.platform != "win32":
            (scratch / _LOCK).unlink()
    finally:
        os.close(handle)
    if sys.platform == "win32":
        (scratch / _LOCK).unlink()  # the system refuses to remove what a living run has open
    shutil.rmtree(scratch)


if sys.platform == "win32":

    def _lock(handle: int, *, wait: bool) -> bool:
        """Leave it to the system, which knows what is open."""
        return True

else:
    import fcntl

    def _lock(handle: int, *, wait: bool) -> bool:
        """Lock an open file, or return False where somebody has and it is not waited for."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # somebody has it, or the file system has no locks and nothing can be told abandoned
            return False
        return True


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on the disk, so that a power cut cannot leave a new name on old nothing."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
