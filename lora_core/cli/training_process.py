"""A training in a process of its own, followed by the lines it tells: for programs that must not train in theirs."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from ..errors import TrainingError, error_from
from ..training.apart import ask_to_end, started

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

    command = ["train", *map(str, arguments), "--progress", "json", "--end-with-stdin"]
    with started("lora_core", command, stderr=subprocess.PIPE) as process:
        lines, words = _read(process)
        try:
            _follow(lines, told, pause)
        except BaseException:
            ask_to_end(process)
            _follow(lines, told, pause)
            _raise_error(outcome, process.wait(), words)
            raise
        code = process.wait()
    _raise_error(outcome, code, words)
    if "done" not in outcome:
        raise TrainingError("training", "was ended from outside", remedy=_AGAIN)
    return outcome["done"]


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


def _raise_error(outcome: Mapping[str, Event], code: int, words: deque[str]) -> None:
    """Raise what a training ended with, if it was an error: its own, or that it died without a word."""
    if (told := outcome.get("error")) is not None:
        raise error_from(told)
    if code not in (0, 130):
        said = next((line for line in reversed(words) if line), "nothing")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        what = f"its process {how} and said last: {said.removeprefix('Error: ')}"
        raise TrainingError("training", what, remedy=_AGAIN)
