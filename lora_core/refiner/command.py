"""A refiner that is a command of the shell: the prompt on its standard input, the refined one on its output."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from ..checks import finite_number, one_line
from ..errors import RequestError
from ..wording import said

#: How long a command may take, in seconds.
SECONDS = 120.0
#: More than this is no prompt, in bytes, and is not read to its end.
MOST_BYTES = 1 << 20
#: How much is kept of what a command complains of.
_LAST_BYTES = 1 << 13


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
        end = time.monotonic() + self.seconds
        answer, complaint = _Pipe(process, process.stdout, MOST_BYTES), _Pipe(process, process.stderr, None)
        try:
            _tell(process, prompt)
            for pipe in (answer, complaint):  # a program that it has started may hold them open
                pipe.join(max(0.0, end - time.monotonic()))
            is_done = not (answer.is_alive() or complaint.is_alive())
            process.wait(max(0.0, end - time.monotonic()) if is_done else 0.0)
        except subprocess.TimeoutExpired:
            is_done = False
        finally:  # behind Ctrl-C too, which does not reach a session of its own
            _end(process)
        if answer.is_over:
            what = said("it gave more than {most:,} bytes, and was ended", most=MOST_BYTES)
            raise RequestError("refiner", what, remedy="Run it alone to see why")
        if not is_done:
            what = said("it was not done within {seconds:g} s", seconds=self.seconds)
            raise RequestError("refiner", what, remedy="Give it more time")
        if process.returncode:
            lines = complaint.text.strip().splitlines()
            why = one_line(lines[-1]) if lines else said("it says nothing of why")
            what = said("it ended with {code}: {why}", code=process.returncode, why=why)
            raise RequestError("refiner", what, remedy="Run it alone to see why")
        return answer.text


class _Pipe(threading.Thread):
    """What a process writes into a pipe, of which no more is kept than is wanted.

    Attributes:
        is_over: whether there was more than `most` bytes; the process is ended then.
    """

    def __init__(self, process: subprocess.Popen[bytes], pipe: IO[bytes] | None, most: int | None) -> None:
        super().__init__(daemon=True)
        assert pipe is not None
        self._process, self._pipe, self._most = process, pipe, most
        self._kept, self.is_over = bytearray(), False
        self.start()

    def run(self) -> None:
        """Read to the end."""
        with suppress(ValueError, OSError):  # closed by the other thread
            while piece := os.read(self._pipe.fileno(), 1 << 16):
                self._kept += piece
                if self._most is None:
                    del self._kept[:-_LAST_BYTES]
                elif len(self._kept) > self._most:
                    self.is_over = True
                    _kill(self._process)
                    return

    @property
    def text(self) -> str:
        """What was kept, as text."""
        return self._kept.decode(errors="replace")


def _tell(process: subprocess.Popen[bytes], prompt: str) -> None:
    """Write the prompt to a command beside whatever else happens; one that does not read it is not waited for."""

    def write() -> None:
        assert process.stdin is not None
        with suppress(OSError, ValueError), process.stdin as pipe:
            pipe.write(prompt.encode())

    threading.Thread(target=write, daemon=True).start()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and what it started."""
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started, which would else keep its output open."""
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
