"""The comparison of ways to tune a refiner: rates swept, the best repeated, answers and videos judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...atomic import write_text
from ...checks import typed
from ...errors import TrainingError
from ...progress import Progress, unheard
from ...refiner.tuning.config import read_tune_config
from ...refiner.tuning.folder import FREE_KEYS
from ...refiner.tuning.log import TuneRow
from ...training.log import read_row_log
from ..folder import read_json
from ..processes import Processes
from ..work import Work, check_same_settings
from .baselines import planned_baselines
from .best import best_rates, score
from .collect import collect
from .config import RefinersConfig, Run
from .folder import RefinersFolder
from .report import write_report

#: The module that does the jobs; not imported here: a comparison that opens no model takes no memory.
_WORKER = "lora_core.comparison.refiners.worker"
#: What a training says of where its rows lie, which is told by their hash.
_PLACES = ("rows", "rehearsal_rows")


@dataclass(frozen=True)
class ComparedRefiners:
    """What a comparison has led to.

    Attributes:
        data: all that was found, as in `refiners.json`.
        is_over: whether nothing is left to do.
    """

    folder: RefinersFolder
    data: Mapping[str, Any]
    is_over: bool


@typed(TrainingError)
def compare_refiners(
    config: RefinersConfig,
    out: str | Path,
    *,
    progress: Progress = unheard,
    tell: Callable[[str], object] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ComparedRefiners:
    """Tune by every method with each of its rates, the best with the other seeds, and judge answers and videos.

    What is finished in the folder is not done again, and a training that was cut goes on where it can. The report is
    written anew behind each training.

    Args:
        config: what is compared.
        out: the folder of the comparison.
        progress: told of the trainings' steps, and of how many of them are done.
        tell: told what came of each training, a line each.
        should_stop: asked a few times a second; a training then ends behind its step, with a checkpoint.

    Raises:
        TrainingError: the folder holds a comparison with other settings or other rows; no training has come to an end.
        ModelError: a language model cannot be opened.
    """
    folder = RefinersFolder(Path(out).absolute())
    processes = Processes(folder, _WORKER, (), should_stop)
    with folder.locked():
        _begin(config, folder)
        work = _Work(config=config, folder=folder, processes=processes, progress=progress, tell=tell)
        return ComparedRefiners(folder, *work.do())


def _begin(config: RefinersConfig, folder: RefinersFolder) -> None:
    """Store the configuration, unless trainings that are here already had another one."""
    for path in sorted((folder.path / "runs").glob("*/config.toml")):
        stored = read_tune_config(path)
        rank = 0 if stored.method == "full" else stored.rank
        run = Run(stored.method, stored.lr, rank, stored.rehearsal_share, stored.seed)
        here = config.tune_config(run, folder).values()
        check_same_settings(folder.path, stored.values(), here, (*FREE_KEYS, *_PLACES))
    write_text(config.to_toml(), folder.config)


def check_unchanged(folder: RefinersFolder) -> None:
    """Raise where something that is here was found with other rows, other questions or another model."""
    digest = (read_json(folder.base) or {}).get("digest")
    found = [*(folder.path / "runs").glob("*/judged.json"), *(folder.path / "baselines").glob("*.json")]
    for path in sorted(found):
        if (read_json(path) or {}).get("digest") != digest:
            what = "the rows, the questions or the model have changed since this comparison began"
            raise TrainingError(path, what, remedy="Put them back, or compare in another folder")


@dataclass(frozen=True, kw_only=True)
class _Work(Work[Run]):
    """What is left to do of a comparison of refiners."""

    config: RefinersConfig
    folder: RefinersFolder

    def everything(self) -> None:
        self.progress(0, 1, "drawing rows and questions")
        self.processes.do("base", called="base")
        check_unchanged(self.folder)
        self._ask_baselines()
        self.train(self.config.sweep, "sweeping the rates")
        best = best_rates(self.config, self.folder)
        self.check_any(best)
        self.train(self.config.repeats(best), "repeating with other seeds")
        self.train(self.config.ranked(best), "trying other ranks")
        if self.config.settings.num_videos:
            self.progress(0, 1, "judging by videos")
            self.processes.do("videos", called="videos")

    def report(self) -> dict[str, Any]:
        data = collect(self.config, self.folder, self.failed)
        write_report(data, self.folder.report)
        return data

    def judged(self, run: Run) -> Path:
        return self.folder.judged(run)

    def steps(self, run: Run) -> tuple[int, int]:
        log = read_row_log(self.folder.run(run).path, TuneRow)
        return log[-1].step if log else 0, self.config.tune_config(run, self.folder).steps

    def outcome(self, judged: Mapping[str, Any]) -> str | None:
        if score(judged) is None:
            return None
        last = judged["curve"][-1]
        return f"right {100 * last['new']:.0f} % in new words, {100 * last['known']:.0f} % in known words"

    def _ask_baselines(self) -> None:
        names = list(planned_baselines(self.config))
        for number, name in enumerate(names):
            self.progress(number, len(names), "asking what needs no tuning")
            if not self.folder.baseline(name).exists():
                self.processes.do("baseline", name, called=f"baseline-{name}")
