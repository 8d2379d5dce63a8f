"""What reading a bad file may cost."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def costing_little(seconds: float = 5.0, megabytes: float = 500.0) -> Iterator[None]:
    """Hold what is done inside to seconds of this thread, and to how far it raises the process's peak of memory."""
    started, peak = time.thread_time(), _peak_megabytes()
    yield
    assert time.thread_time() - started < seconds
    assert _peak_megabytes() - peak < megabytes


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
