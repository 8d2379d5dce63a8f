"""How long work reports its progress: one small protocol that the CLI, ComfyUI and tests can each implement."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener to progress; it raises from `__call__` to cancel."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take note that `done` of `total` units of `what` are finished."""


def unheard(done: int, total: int, what: str) -> None:
    """Take no note of progress."""
