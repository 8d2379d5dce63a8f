"""The work of a comparison: trainings one after the other, each in a process, with a report behind each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..checks import first_few
from ..errors import TrainingError
from ..progress import Progress
from ..training.config import differences
from .folder import JobsFolder, read_json
from .processes import EndedError, Processes


class Training(Protocol):
    """What is known of one training of any comparison."""

    @property
    def name(self) -> str:
        """What its folder is called."""

    @property
    def words(self) -> tuple[str, ...]:
        """What a process is told of it."""


R = TypeVar("R", bound=Training)


@dataclass(frozen=True, kw_only=True)
class Work(ABC, Generic[R]):
    """What is left to do of a comparison.

    Attributes:
        tell: told what came of each training, a line each.
        failed: what trainings have failed with.
    """

    folder: JobsFolder
    processes: Processes
    progress: Progress
    tell: Callable[[str], object]
    failed: dict[R, str] = field(default_factory=dict)

    def do(self) -> tuple[dict[str, Any], bool]:
        """Do it; return all that was found, and whether nothing is left to do."""
        try:
            self.everything()
            is_over = True
        except EndedError:
            is_over = False
        return self.report(), is_over

    @abstractmethod
    def everything(self) -> None:
        """Do it, in an order in which the most is known the soonest."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Write what is known so far, and the report that is made from it."""

    @abstractmethod
    def judged(self, run: R) -> Path:
        """Return the file that says what a training has led to; a training that has it is done with."""

    @abstractmethod
    def steps(self, run: R) -> tuple[int, int]:
        """Return how many steps a training has done, and how many it will."""

    @abstractmethod
    def outcome(self, judged: Mapping[str, Any]) -> str | None:
        """Say what a training has led to; None where it came to no end."""

    def train(self, runs: Sequence[R], what: str) -> None:
        """Do those trainings that are not done."""
        for number, run in enumerate(runs):
            self.progress(number, len(runs), what)
            if not self.judged(run).exists():
                self._train_one(run)
                self.report()
        self.progress(len(runs), len(runs), what)

    def check_any(self, best: Collection[object]) -> None:
        """Raise where no training has come to an end."""
        if not best:
            first = next(iter(self.failed.values()), "all have diverged")
            raise TrainingError(self.folder.path, f"no training has come to an end: {first}", remedy="Lower the rates")

    def _train_one(self, run: R) -> None:
        show = partial(self._show_step, run)
        try:
            self.processes.do("train", *run.words, called=run.name, while_waiting=show)
        except TrainingError as error:  # the others, as those of clips and of full disks, all trainings would meet
            self.failed[run] = str(error)
        judged = read_json(self.judged(run)) or {}
        came_to = self.outcome(judged) or self.failed.get(run) or f"diverged: {judged.get('diverged')}"
        self.tell(f"{run.name}: {came_to}")

    def _show_step(self, run: R) -> None:
        self.progress(*self.steps(run), run.name)


def check_same_settings(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any], free: Collection[str]) -> None:
    """Raise where a training that is in the folder has other settings than it would have now, but for free keys."""
    compared = ({key: value for key, value in values.items() if key not in free} for values in (there, here))
    if different := differences(*compared):
        what = f"the trainings here have other settings: {first_few(different, 8, between='; ')}"
        raise TrainingError(folder, what, remedy="Go on with the same, or compare in another folder")
