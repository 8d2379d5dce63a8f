"""A process of a comparison of refiners: one tuning, whose memory is nobody else's, or one way that needs none.

python -m lora_core.comparison.refiners.worker JOB FOLDER [NAME …]
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from ...checkpoints.hashes import file_sha256, hashes_of
from ...pocket.requests.rows import RequestRow, read_request_rows
from ...refiner.sources import find_language_source
from ...training.checkpoints import checkpoints_in, remove_folder
from ...training.environment import environment
from ...training.guard import DivergedError
from ...training.memory.peak import process_peak_bytes
from ..folder import write_json
from ..job import StoppedError, do_job
from .asking import all_measured
from .baselines import planned_baselines
from .config import RefinersConfig, read_refiners_config, run_of
from .folder import RefinersFolder
from .questions import question_files, read_questions, write_questions


class Bench:
    """What every job works with: the comparison, and what is asked in it."""

    def __init__(self, folder: RefinersFolder, should_stop: Callable[[], bool]) -> None:
        self.folder, self.should_stop = folder, should_stop
        self.config: RefinersConfig = read_refiners_config(folder.config)

    @cached_property
    def questions(self) -> dict[str, list[RequestRow]]:
        return read_questions(self.folder)

    @cached_property
    def digest(self) -> str:
        """A hash of all that trainings have in common: rows, questions, and the model's files."""
        told = {name: file_sha256(file) for name, file in question_files(self.folder).items()}
        told |= hashes_of({"model": find_language_source(self.config.model).base})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def stop_if_asked(self) -> None:
        """Raise where somebody wants an end; nothing is lost by it but what is being done."""
        if self.should_stop():
            raise StoppedError


def look_at_base(bench: Bench) -> None:
    """Draw rows and questions, and write what they are."""
    write_questions(bench.config.settings, bench.folder)
    files = question_files(bench.folder)
    found = {
        "digest": bench.digest,
        "counts": {name: len(read_request_rows(file)) for name, file in files.items()},
        "model": hashes_of({"model": find_language_source(bench.config.model).base})["model"],
        "environment": environment(),
    }
    write_json(found, bench.folder.base)


def ask_baseline(bench: Bench, name: str) -> None:
    """Ask one way that needs no tuning, and write what it answers."""
    baseline = planned_baselines(bench.config)[name]
    rows = read_request_rows(bench.folder.rows)
    ask = baseline.begin(bench.config, rows, bench.stop_if_asked)
    questions = {name: asked for name, asked in bench.questions.items() if name in baseline.sets}
    measured, answers, seconds = all_measured(questions, ask)
    found = {"digest": bench.digest, "measured": measured, "answers": answers, "seconds_per_answer": seconds}
    write_json(found, bench.folder.baseline(name))


def train_one(bench: Bench, *words: str) -> None:
    """Train, or go on with it, and write what it has led to; its checkpoints go when they have been asked."""
    from ...refiner.tuning.trainer import TuneTrainer  # noqa: F401  # so that its memory is not the tuning's
    from ...refiner.tuning.tune import tune
    from .judging import judge

    run = run_of(*words)
    config, folder = bench.config.tune_config(run, bench.folder), bench.folder.run(run)
    libraries = process_peak_bytes()
    try:
        if not folder.record.exists():
            resume = folder.config.exists()
            if tune(config, folder.path, resume=resume, should_stop=bench.should_stop).stopped:
                raise StoppedError
        found = judge(config, folder, bench.questions, bench.stop_if_asked)
    except DivergedError as error:
        write_json({"digest": bench.digest, "diverged": str(error)}, bench.folder.judged(run))
        return
    write_json({"digest": bench.digest, "libraries_bytes": libraries, **found}, bench.folder.judged(run))
    for checkpoint in checkpoints_in(folder.checkpoints):
        remove_folder(checkpoint)


def watch(bench: Bench) -> None:
    """Make the videos that are missing, and write what is read from them."""
    from .videos import read_missing

    read_missing(bench.config, bench.folder, bench.questions, bench.stop_if_asked)


JOBS: Mapping[str, Callable[..., None]] = {
    "base": look_at_base,
    "baseline": ask_baseline,
    "train": train_one,
    "videos": watch,
}


def main(arguments: list[str]) -> int:
    """Do a job; return how it ended."""
    job, folder, *words = arguments
    return do_job(lambda should_stop: JOBS[job](Bench(RefinersFolder(Path(folder)), should_stop), *words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
