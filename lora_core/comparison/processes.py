"""The processes of a comparison: each job in one of its own, watched, and told to stop when somebody wants an end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..checks import first_line
from ..errors import LoraCoreError, OutputError, TrainingError, error_from
from ..training.apart import ask_to_end, started
from .folder import JobsFolder
from .job import STOPPED

#: Seconds between two looks at a process.
_PAUSE = 0.25


class EndedError(Exception):
    """Somebody has asked for an end, and all processes have ended."""


@dataclass(frozen=True)
class Processes:
    """What starts processes, one after the other.

    Attributes:
        worker: the module that does the jobs, as `lora_core.comparison.worker`.
        told: what every job is told beside the folder.
        should_stop: asked while one is at work; it then ends as soon as nothing is lost.
    """

    folder: JobsFolder
    worker: str
    told: tuple[str, ...]
    should_stop: Callable[[], bool]

    def do(self, job: str, *names: str, called: str, while_waiting: Callable[[], None] = lambda: None) -> None:
        """Let a process do a job.

        Args:
            job: a row of the worker's `JOBS`.
            names: what the job is about.
            called: what the file is called that keeps what the process prints.
            while_waiting: called a few times a second.

        Raises:
            EndedError: it was told to stop.
            LoraCoreError: what the process has raised, of the same class.
        """
        output = self.folder.output(called)
        arguments = [job, str(self.folder.path), *self.told, *names]
        with _opened(output) as printed, started(self.worker, arguments, stderr=printed) as process:
            assert process.stdout is not None, "a pipe"
            with process.stdout as told:
                while process.poll() is None:
                    if self.should_stop():
                        ask_to_end(process)
                    while_waiting()
                    _wait(process)
                answer = told.read()
        if process.returncode == STOPPED or (process.returncode and self.should_stop()):
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


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PAUSE)
    except subprocess.TimeoutExpired:
        return


def _error_in(answer: str, called: str, output: Path, code: int) -> LoraCoreError:
    """Return the error that a process has told, or what is known of one that could not tell any."""
    try:
        return error_from(json.loads(answer.splitlines()[-1]))
    except (IndexError, ValueError, KeyError, TypeError):
        lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = first_line(Exception(lines[-1])) if lines else "nothing was printed"
        what = f"its process has ended with {code}: {last}"
        remedy = f"Look into {output}, then start the comparison again, which goes on"
        return TrainingError(called, what, remedy=remedy)
