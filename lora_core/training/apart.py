"""Modules of this package run in a process apart from the one that starts them, and not outliving it.

One that works for long watches its standard input, whose end is the wish for an end: whoever started it closed it, or
died. Ctrl-C in the terminal is meant for the one that started it alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

#: Runs a module from a folder, also in an embedded Python, which takes no search path from its environment.
_START = """
import runpy, sys
sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
_FOLDER = Path(__file__).parents[2]


@contextmanager
def started(module: str, arguments: Sequence[str], *, stderr: int | IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Give a process that runs a module, its streams as text; one that still runs when the block ends is killed.

    Args:
        module: its name, as `lora_core.comparison.worker`.
        arguments: what it finds behind its own name in `sys.argv`.
        stderr: as `Popen` takes it; the other two streams are pipes.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(_FOLDER), module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        yield process
    finally:
        if process.poll() is None:  # an error or a second Ctrl-C: checkpoints survive it
            process.kill()
        process.wait()
        ask_to_end(process)


def ask_to_end(process: subprocess.Popen[str]) -> None:
    """Close the standard input of a process, which tells it to end; harmless when repeated."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def when_stdin_ends(act: Callable[[], object]) -> None:
    """Call something, in a thread, once the standard input of this process has ended."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 4096):  # not by a buffer, whose lock would be held when the process ends
                pass
        act()

    threading.Thread(target=wait, name="when stdin ends", daemon=True).start()
