"""A job that a process does for a comparison, and how such a process ends.

It is told to end by the end of its standard input, so a comparison that was killed leaves none behind. An error is the
last line of its standard output, as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable

from ..checkpoints.quiet import hush
from ..errors import LoraCoreError
from ..training.apart import when_stdin_ends

#: How a process ends that was told to stop, and one that could not do its job.
STOPPED, FAILED = 3, 1


class StoppedError(Exception):
    """Somebody has asked for an end."""


def do_job(job: Callable[[Callable[[], bool]], None]) -> int:
    """Do a job, which is given what says whether somebody wants an end; return how it ended."""
    hush()
    ended = threading.Event()
    when_stdin_ends(ended.set)
    try:
        job(ended.is_set)
    except StoppedError:
        return STOPPED
    except LoraCoreError as error:
        sys.stdout.write(json.dumps(error.to_dict()) + "\n")
        return FAILED
    return 0
