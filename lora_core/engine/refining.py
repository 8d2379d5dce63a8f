"""The refiner of a prompt: any callable or command that writes a prompt more fully, never in the way of a run."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from ..checks import finite_number, first_line, shown
from ..errors import LoraCoreError, RequestError
from ..wording import Said, said
from .guarding import name_of

#: A prompt -> a fuller one.
Refiner: TypeAlias = "Callable[[str], str]"

#: How long a command may take, in seconds.
SECONDS = 120.0
#: More than this is no prompt; a text encoder reads 512 tokens.
MAX_LETTERS = 20_000


@dataclass(frozen=True)
class Refined:
    """What became of a prompt.

    Attributes:
        given: as it was before.
        prompt: what is made; `given` itself where the refiner failed.
        by: the refiner, as a record names it.
        fault: why the refiner's word does not count; "" where it does.
        seconds: how long it took.
    """

    given: str
    prompt: str
    by: str
    fault: str
    seconds: float

    def row(self) -> dict[str, object]:
        """Return what the record says of it; the request beside it has the prompt that was made."""
        fault = str(self.fault) or None
        return {"by": self.by, "given": self.given, "fault": fault, "seconds": round(self.seconds, 4)}

    def note(self) -> Said:
        """Return what is to be said of it."""
        if self.fault:
            return said("refiner: {fault}; the prompt is used as it was", fault=self.fault)
        return said("refiner: the prompt is now {prompt!r}", prompt=self.prompt)


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


def refine(prompt: str, refiner: Refiner) -> Refined:
    """Return a prompt as a refiner writes it; where it fails or gives nothing, as it was, with the reason."""
    started = time.perf_counter()
    fault: str = ""
    refined: object = prompt
    try:
        refined = refiner(prompt)
        fault = _fault(refined)
    except LoraCoreError as error:
        fault = error.what
    except Exception as error:  # somebody else's program: whatever it raises, the prompt is still there
        fault = said("it failed with {kind}: {why}", kind=type(error).__name__, why=first_line(error))
    better = prompt if fault else str(refined).strip()
    return Refined(prompt, better, refiner_name(refiner), fault, time.perf_counter() - started)


def refiner_name(refiner: Refiner) -> str:
    """Return what a record calls a refiner."""
    return f"`{refiner.command}`" if isinstance(refiner, CommandRefiner) else name_of(refiner)


def check_refiner(refiner: Refiner | None) -> None:
    """Raise where a refiner cannot be called."""
    if refiner is not None and not callable(refiner):
        what = said("{refiner!r:.60} cannot be called", refiner=refiner)
        raise RequestError("refiner", what, expected="prompt -> prompt", remedy="Give a callable, or none")


def _fault(refined: object) -> str:
    if not isinstance(refined, str):
        return said("it gave {kind} and no text", kind=type(refined).__name__)
    if not refined.strip():
        return said("it gave nothing")
    if len(refined) > MAX_LETTERS:
        return said("it gave {count:,} letters, {start}", count=len(refined), start=shown(refined))
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started, which would else keep its output open."""
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
