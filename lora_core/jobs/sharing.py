"""Jobs shared out among workers that may die: each takes the next when it is free, a dead one's go back."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from ..errors import RequestError
from .ended import Done, Event, Fault, Lost, Numbered, fault_of

#: A job under which so many workers died is not tried again: it is likelier the cause than bad luck.
MOST_DEATHS = 2


class WorkerLostError(Exception):
    """A worker that is gone.

    Attributes:
        worker: its name.
        why: what was seen of its end.
        is_for_good: nobody can take its place.
        blames_job: it went down with a job in hand.
    """

    def __init__(self, worker: str, why: str, *, is_for_good: bool = False, blames_job: bool = True) -> None:
        super().__init__(f"{worker}: {why}")
        self.worker, self.why, self.is_for_good, self.blames_job = worker, why, is_for_good, blames_job


class Worker(Protocol):
    """One that does jobs, in another process or on another machine."""

    def do(self, item: Any) -> Done:
        """Do a job.

        Raises:
            WorkerLostError: the worker is gone.
            LoraCoreError: the job is at fault.
        """

    def close(self) -> None:
        """Stop whatever is being done; called from another thread."""


#: Gets a worker to work; raises WorkerLostError where there is none to be had.
Hire = Callable[[], Worker]


def share(items: Sequence[Numbered], posts: Sequence[Hire]) -> Iterator[Event]:
    """Do all jobs, one at each post at a time; yield what becomes of each as it is known.

    The worker of a post that dies has another hired in its place, unless it is gone for good; its job goes to whoever
    is free first. However the caller leaves, by an error or Ctrl-C, all workers are closed.
    """
    board = _Board(items)
    threads = [threading.Thread(target=_keep_post, args=(board, hire), daemon=True) for hire in posts]
    board.num_posts = len(threads)
    for thread in threads:
        thread.start()
    left = len(items)
    try:
        while left:
            event = board.events.get()
            left -= not isinstance(event, Lost)
            yield event
    finally:
        board.stop()
        for thread in threads:
            thread.join(timeout=10)


class _Board:
    """The jobs that wait, who works, and what has become known; shared by the threads of all posts."""

    def __init__(self, items: Sequence[Numbered]) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.num_posts = 0
        self._waiting, self._num_taken = deque(items), 0
        self._deaths: Counter[int] = Counter()
        self._workers: set[Worker] = set()
        self._changed = threading.Condition()
        self._is_over = False

    def take(self) -> Numbered | None:
        """Return the next job, waiting while one that another has may come back; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._waiting or not self._num_taken)
            if self._is_over or not self._waiting:
                return None
            self._num_taken += 1
            return self._waiting.popleft()

    def settle(self, event: Done | Fault) -> None:
        """Note that a job is over."""
        with self._changed:
            self._num_taken -= 1
            self.events.put(event)
            self._changed.notify_all()

    def put_back(self, item: Numbered, lost: WorkerLostError) -> None:
        """Let another worker have a dead one's job, or give it up where it has cost too many."""
        self.events.put(Lost(lost.worker, lost.why))
        self._deaths[item.number] += lost.blames_job
        if self._deaths[item.number] >= MOST_DEATHS:
            what = f"{MOST_DEATHS} workers died of it, the last one {lost.worker}: {lost.why}"
            self.settle(fault_of(item, RequestError("", what, remedy="Make it smaller, or alone to see what happens")))
            return
        with self._changed:
            self._num_taken -= 1
            self._waiting.appendleft(item)
            self._changed.notify_all()

    def employ(self, worker: Worker) -> None:
        with self._changed:
            self._workers.add(worker)
            is_late = self._is_over
        if is_late:
            worker.close()

    def dismiss(self, worker: Worker | None) -> None:
        if worker is not None:
            with self._changed:
                self._workers.discard(worker)

    def leave_post(self) -> None:
        """Give up the jobs that nobody is left for."""
        with self._changed:
            self.num_posts -= 1
            if self.num_posts or self._is_over:
                return
            for item in self._waiting:
                what = "no worker is left to do it"
                self.events.put(fault_of(item, RequestError("", what, remedy="Run the list again when there is one")))
            self._waiting.clear()

    def stop(self) -> None:
        with self._changed:
            self._is_over = True
            workers = list(self._workers)
            self._changed.notify_all()
        for worker in workers:
            with suppress(Exception):  # a worker that cannot be told to stop does not keep the others from it
                worker.close()


def _keep_post(board: _Board, hire: Hire) -> None:
    """Do jobs until there are none, hiring a worker whenever there is none."""
    worker: Worker | None = None
    try:
        while (item := board.take()) is not None:
            try:
                if worker is None:
                    worker = hire()
                    board.employ(worker)
                board.settle(worker.do(item))
            except WorkerLostError as lost:
                board.dismiss(worker)
                worker = None
                board.put_back(item, lost)
                if lost.is_for_good:
                    return
            except Exception as error:
                board.settle(fault_of(item, error))
    finally:
        board.leave_post()
