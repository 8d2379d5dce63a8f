"""A training in a process of its own, followed by the lines it tells: for programs that must not train in theirs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from .. import errors
from ..errors import LoraCoreError, TrainingError

#: Runs the package from its folder, also in an embedded Python, which takes no search path from its environment.
_START = """
import runpy, sys
sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]
runpy.run_module("lora_core", run_name="__main__", alter_sys=True)
"""
_FOLDER = Path(__file__).parents[2]
#: Seconds without a line after which `pause` is called.
_PAUSE_S = 0.2
_NUM_WORDS_KEPT = 40
_AGAIN = "Start it again; it goes on from its last checkpoint"

Event = Mapping[str, Any]


def run_training(
    arguments: Sequence[str | Path], *, tell: Callable[[Event], object], pause: Callable[[], object] = lambda: None
) -> Event:
    """Run `lora-core train` with arguments to its end, and return its event `done`.

    Whatever `tell` or `pause` raise asks the training to end with a checkpoint, and is raised again once it has; what
    they raise a second time ends it at once. It ends so, too, when this process dies.

    Args:
        arguments: of the command.
        tell: called with every event but `error`, in the thread that calls this.
        pause: called several times a second while there is nothing to tell.

    Raises:
        LoraCoreError: what the training ended with.
    """
    outcome: dict[str, Event] = {}

    def told(event: Event) -> None:
        outcome[event["event"]] = event
        if event["event"] != "error":
            tell(event)

    with _started(arguments) as process:
        lines, words = _read(process)
        try:
            _follow(lines, told, pause)
        except BaseException:
            _close(process.stdin)
            _follow(lines, told, pause)
            _raise_error(outcome, process.wait(), words)
            raise
        code = process.wait()
    _raise_error(outcome, code, words)
    if "done" not in outcome:
        raise TrainingError("training", "was ended from outside", remedy=_AGAIN)
    return outcome["done"]


@contextmanager
def _started(arguments: Sequence[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """Give the process, which does not outlive the block."""
    command = [sys.executable, "-c", _START, str(_FOLDER), "train", *map(str, arguments)]
    process = subprocess.Popen(
        [*command, "--progress", "json", "--end-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        # Ctrl-C in the terminal is meant for this process: a signal and the end of stdin would be two wishes to end.
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        _close(process.stdin)


def _read(process: subprocess.Popen[str]) -> tuple[Queue[Event | None], deque[str]]:
    """Read both streams in threads: events, None behind the last, and the latest words said beside them."""
    lines: Queue[Event | None] = Queue()
    words: deque[str] = deque(maxlen=_NUM_WORDS_KEPT)

    def read_events(stream: IO[str]) -> None:
        with stream:
            for line in stream:
                event = _event_in(line)
                lines.put(event) if event else words.append(line.strip())
        lines.put(None)

    def read_words(stream: IO[str]) -> None:
        with stream:
            words.extend(line.strip() for line in stream)

    for read, stream in ((read_events, process.stdout), (read_words, process.stderr)):
        threading.Thread(target=read, args=(stream,), daemon=True).start()
    return lines, words


def _event_in(line: str) -> Event | None:
    """Return the event that a line is; None of what a library has printed."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _follow(lines: Queue[Event | None], tell: Callable[[Event], object], pause: Callable[[], object]) -> None:
    while True:
        try:
            event = lines.get(timeout=_PAUSE_S)
        except Empty:
            pause()
            continue
        if event is None:
            return
        tell(event)


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        with suppress(OSError):
            stream.close()


def _raise_error(outcome: Mapping[str, Event], code: int, words: deque[str]) -> None:
    """Raise what a training ended with, if it was an error: its own, or that it died without a word."""
    if (told := outcome.get("error")) is not None:
        kind = getattr(errors, told["kind"], LoraCoreError)
        raise kind(told["where"], told["what"], expected=told["expected"], remedy=told["remedy"])
    if code not in (0, 130):
        said = next((line for line in reversed(words) if line), "nothing")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        remedy = "Start it again; it goes on from its last checkpoint"
        raise TrainingError(
            "training", f"its process {how} and said last: {said.removeprefix('Error: ')}", remedy=remedy
        )
