"""A refiner that is a command of the shell: the prompt on its standard input, the refined one on its output."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from ..checks import finite_number
from ..errors import RequestError
from ..wording import said

#: How long a command may take, in seconds.
SECONDS = 120.0


@dataclass(frozen=True)
class CommandRefiner:
    """A command that reads a prompt on its standard input and prints the refined one.

    Attributes:
        command: with its arguments, as a shell would read them; no shell runs.
        seconds: how long it may take.
    """

    command: str
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if finite_number(self.seconds, "refiner seconds", RequestError) <= 0:
            what = said("{seconds:g} leaves it no time", seconds=self.seconds)
            raise RequestError("refiner seconds", what, expected="more than 0", remedy="Give it time")
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            what = said("{command!r:.200} cannot be read: {error}", command=self.command, error=error)
            raise RequestError("refiner", what, expected="a command", remedy="Close its quotes") from None
        if not words or shutil.which(words[0]) is None:
            what = said("there is no command {name!r:.200}", name=words[0] if words else "")
            raise RequestError("refiner", what, expected="a program, with its arguments", remedy="Check its name")

    def __call__(self, prompt: str) -> str:
        """Return what the command prints.

        Raises:
            RequestError: it fails, or is not done in time; what it had started is ended then.
        """
        own = {"start_new_session": True} if os.name == "posix" else {}
        process = subprocess.Popen(
            shlex.split(self.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **own,  # type: ignore[call-overload]  # a keyword that one system has
        )
        try:
            out, words = process.communicate(prompt.encode(), timeout=self.seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            what = said("it was not done within {seconds:g} s", seconds=self.seconds)
            raise RequestError("refiner", what, remedy="Give it more time") from None
        except BaseException:  # Ctrl-C does not reach a session of its own
            _end(process)
            raise
        if process.returncode:
            lines = words.decode(errors="replace").strip().splitlines()
            what = said("it ended with {code}: {why}", code=process.returncode, why=lines[-1] if lines else "-")
            raise RequestError("refiner", what, remedy="Run it alone to see why")
        return str(out.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started, which would else keep its output open."""
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
