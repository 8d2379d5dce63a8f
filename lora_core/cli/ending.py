"""The ending of the program where it is not done: signals that ask for it, and errors that nobody has foreseen."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..checks import first_line
from ..errors import LoraCoreError
from ..training.apart import when_stdin_ends

INTERRUPTED = "Interrupted; nothing half-written is left behind."

#: What a system sends to a program that shall end: a stopped service or job, a closed terminal.
ENDING = ("SIGTERM", "SIGHUP")

#: Seconds within which a launcher passes a signal on.
_HEELS_S = 2.0


def end_as_with_ctrl_c() -> None:
    """Let the signals that ask a program to end undo what is half-done, unless somebody handles or ignores them."""
    for name in ENDING:
        number = getattr(signal, name, None)  # Windows has one of them
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def asked_to_end(*, twice: bool = False) -> Iterator[Callable[[], bool]]:
    """Give what says, inside the block, whether a signal has asked for an end; another one ends it at once.

    With `twice` one that follows on the heels of the first is the same: a launcher passes on to its processes what the
    terminal has sent to them already.
    """
    asked: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if asked and not (twice and now - asked[0] < _HEELS_S):
            raise KeyboardInterrupt
        asked.append(now)

    numbers = [getattr(signal, name) for name in ("SIGINT", *ENDING) if hasattr(signal, name)]
    before = {number: signal.signal(number, note) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_stdin() -> None:
    """Let the end of the standard input ask for an end as a signal does: who started the program closed it, or died."""
    when_stdin_ends(lambda: signal.raise_signal(signal.SIGTERM))


def unforeseen(error: Exception) -> LoraCoreError:
    """Return what to say of an error that nobody has foreseen."""
    what = f"{type(error).__name__}: {first_line(error)}"
    remedy = "Run it again with --debug before the command to see where it comes from, and report it"
    return LoraCoreError("lora-core", what, expected="an error of its own words", remedy=remedy)
