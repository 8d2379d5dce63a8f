"""The comparison of methods of training: rates swept, seeds repeated, videos judged, each step in its own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..checks import typed
from ..errors import TrainingError
from ..progress import Progress, unheard
from ..training.config import read_config
from ..training.log import read_log
from ..training.run_folder import FREE_KEYS
from ..training.settings.adapter import Method
from .asked import question
from .best import best_rates
from .collect import collect
from .config import CompareConfig, Run
from .folder import ComparisonFolder, read_json
from .processes import Processes
from .report import IMAGES, write_report
from .sheet import SHEET, save_sheet
from .subjects import Subject, subjects_of
from .work import Work, check_same_settings

#: The module that does the jobs; not imported here: a comparison that opens no model takes no memory.
_WORKER = "lora_core.comparison.worker"


@dataclass(frozen=True)
class Compared:
    """What a comparison has led to.

    Attributes:
        data: all that was found, as in `comparison.json`.
        is_over: whether nothing is left to do.
    """

    folder: ComparisonFolder
    data: Mapping[str, Any]
    is_over: bool


@typed(TrainingError)
def compare(
    config: CompareConfig,
    out: str | Path,
    *,
    cache: str | Path | None = None,
    progress: Progress = unheard,
    tell: Callable[[str], object] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Compared:
    """Train every method with each of its rates, the best rate of each with the other seeds, and judge what came of it.

    What is finished in the folder is not done again, and a training that was cut goes on. The report is written anew
    behind each training.

    Args:
        config: what is compared.
        out: the folder of the comparison.
        cache: where encoded clips are kept; in the folder of clips unless given.
        progress: told of the trainings' steps, and of how many trainings and videos are done.
        tell: told what came of each training, a line each.
        should_stop: asked a few times a second; a training then ends behind its step, with a checkpoint.

    Raises:
        TrainingError: the folder holds a comparison with other settings or other clips; no training has come to an end.
    """
    folder = ComparisonFolder(Path(out).absolute())
    processes = Processes(folder, _WORKER, ("" if cache is None else str(Path(cache).absolute()),), should_stop)
    with folder.locked():
        _begin(config, folder)
        work = _Work(config=config, folder=folder, processes=processes, progress=progress, tell=tell)
        return Compared(folder, *work.do())


def _begin(config: CompareConfig, folder: ComparisonFolder) -> None:
    """Store the configuration, unless trainings that are here already had another one."""
    for path in sorted((folder.path / "runs").glob("*/config.toml")):
        stored = read_config(path)
        run = Run(stored.adapter.method, stored.learning.lr, stored.learning.seed)
        check_same_settings(folder.path, stored.values(), config.train_config(run).values(), FREE_KEYS)
    write_text(config.to_toml(), folder.config)


def check_unchanged(folder: ComparisonFolder) -> None:
    """Raise where a training that is here already had other clips or another model than there are now."""
    digest = (read_json(folder.prepared) or {}).get("digest")
    for path in sorted((folder.path / "runs").glob("*/judged.json")):
        if (read_json(path) or {}).get("digest") != digest:
            what = "the clips or the model have changed since this comparison began"
            raise TrainingError(path.parent, what, remedy="Put them back, or compare in another folder")


@dataclass(frozen=True, kw_only=True)
class _Work(Work[Run]):
    """What is left to do of a comparison of methods of training."""

    config: CompareConfig
    folder: ComparisonFolder

    def everything(self) -> None:
        self._look_at_base()
        self.train(self.config.sweep, "sweeping the rates")
        best = best_rates(self.config, self.folder)
        self.check_any(best)
        self.train(self._repeats(best), "repeating the best with other seeds")
        self._judge(subjects_of(self.config, best))

    def report(self) -> dict[str, Any]:
        data = collect(self.config, self.folder, self.failed)
        write_report(data, self.folder.report, self.folder.path)
        return data

    def judged(self, run: Run) -> Path:
        return self.folder.judged(run)

    def steps(self, run: Run) -> tuple[int, int]:
        log = read_log(self.folder.run(run).path)
        return log[-1].step if log else 0, self.config.train_config(run).learning.steps

    def outcome(self, judged: Mapping[str, Any]) -> str | None:
        if "held_out" not in judged:
            return None
        losses = next(iter(judged["held_out"].values()))
        return "held-out loss " + ", ".join(f"{e.removesuffix('_noise')} {loss:.4f}" for e, loss in losses.items())

    def _repeats(self, best: Mapping[Method, float]) -> tuple[Run, ...]:
        seeds = self.config.settings.seeds[1:]
        return tuple(Run(method, lr, seed) for seed in seeds for method, lr in best.items())

    def _look_at_base(self) -> None:
        """Encode the clips; those of trainings that are here already have to be the same."""
        self.progress(0, 1, "encoding the clips")
        self.processes.do("base", called="base")
        self.progress(1, 1, "encoding the clips")
        check_unchanged(self.folder)

    def _judge(self, subjects: tuple[Subject, ...]) -> None:
        """Let one process make the videos of all subjects whose readings are missing, or answer to other prompts."""
        asked = question(self.config)
        if not asked["asked"]:
            return
        for subject in subjects:
            if (found := read_json(self.folder.readings(subject.name))) is not None and found["question"] != asked:
                self.folder.readings(subject.name).unlink()
        files = {subject.name: self.folder.readings(subject.name) for subject in subjects}

        def show() -> None:
            self.progress(sum(file.exists() for file in files.values()), len(files), "judging by videos")

        if lacking := [name for name, file in files.items() if not file.exists()]:
            self.processes.do("videos", *lacking, called="videos", while_waiting=show)
        show()
        save_sheet(self.config, self.folder, subjects, self.folder.path / IMAGES / SHEET)
