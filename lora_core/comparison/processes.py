"""The processes of a comparison: each job in one of its own, watched, and told to stop when somebody wants an end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from .. import errors
from ..checks import first_line
from ..errors import LoraCoreError, OutputError, TrainingError
from .folder import ComparisonFolder

#: Seconds between two looks at a process.
_PAUSE = 0.25
#: As `worker.STOPPED`, which is not imported here: a comparison that opens no model takes no memory.
_STOPPED = 3
_MODULE = f"{__package__}.worker"


class EndedError(Exception):
    """Somebody has asked for an end, and all processes have ended."""


@dataclass(frozen=True)
class Processes:
    """What starts processes, one after the other.

    Attributes:
        cache: where encoded clips are kept; None for the folder of the clips.
        should_stop: asked while one is at work; it then ends as soon as nothing is lost.
    """

    folder: ComparisonFolder
    cache: Path | None
    should_stop: Callable[[], bool]

    def do(self, job: str, *names: str, called: str, while_waiting: Callable[[], None] = lambda: None) -> None:
        """Let a process do a job.

        Args:
            job: a row of `worker.JOBS`.
            names: what the job is about.
            called: what the file is called that keeps what the process prints.
            while_waiting: called a few times a second.

        Raises:
            EndedError: it was told to stop.
            LoraCoreError: what the process has raised, of the same class.
        """
        output = self.folder.output(called)
        command = [sys.executable, "-m", _MODULE, job, str(self.folder.path), str(self.cache or ""), *names]
        with _opened(output) as printed, _started(command, printed) as process:
            while process.poll() is None:
                if self.should_stop() and process.stdin is not None and not process.stdin.closed:
                    process.stdin.close()
                while_waiting()
                _wait(process)
            answer = process.stdout.read() if process.stdout else ""
        if process.returncode == _STOPPED or (process.returncode and self.should_stop()):
            raise EndedError
        if process.returncode:
            raise _error_in(answer, called, output, process.returncode)


def _opened(output: Path) -> TextIO:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return output.open("w", encoding="utf-8")
    except OSError as error:
        remedy = "Free space, or choose another folder"
        raise OutputError(output, f"cannot be written: {error}", remedy=remedy) from error


@contextmanager
def _started(command: list[str], printed: TextIO) -> Iterator[subprocess.Popen[str]]:
    """Give a process that hears no Ctrl-C of the terminal: this one tells it, once."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        **apart,
    )
    try:
        yield process
    finally:
        if process.poll() is None:  # an error or a second Ctrl-C: checkpoints survive it
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PAUSE)
    except subprocess.TimeoutExpired:
        return


def _error_in(answer: str, called: str, output: Path, code: int) -> LoraCoreError:
    """Return the error that a process has told, or what is known of one that could not tell any."""
    try:
        told = json.loads(answer.splitlines()[-1])
        kind = getattr(errors, told.pop("kind"), TrainingError)
        error: LoraCoreError = kind(told.pop("where"), told.pop("what"), **told)
        return error
    except (IndexError, ValueError, KeyError, TypeError, AttributeError):
        lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = first_line(Exception(lines[-1])) if lines else "nothing was printed"
        what = f"its process has ended with {code}: {last}"
        remedy = f"Look into {output}, then start the comparison again, which goes on"
        return TrainingError(called, what, remedy=remedy)
