"""A process of a comparison: one training, whose memory is nobody else's, or the videos of what was trained.

    python -m lora_core.comparison.worker JOB FOLDER CACHE [NAME …]

It ends when its standard input does, a training behind its step and with a checkpoint. Exit codes: 0 done, 3 stopped,
1 an error.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..checkpoints.hashes import hashes_of
from ..errors import TrainingError
from ..families.opened import OpenedModel
from ..training.batches import MAX_HELD_OUT
from ..training.clips.cached import ClipCache
from ..training.clips.prepare import prepare
from ..training.config import TrainConfig
from ..training.environment import environment
from ..training.guard import DivergedError
from ..training.memory.peak import peak_bytes, process_peak_bytes
from ..training.opening import open_model
from ..training.result import read_record
from ..training.train import train
from .best import best_rates
from .config import CompareConfig, Run, read_comparison
from .folder import ComparisonFolder, read_json, write_json
from .held_out import held_out_losses
from .job import StoppedError, do_job
from .judged_model import judged_model
from .probe import probe
from .subjects import BASES, Subject, subjects_of
from .videos import read_videos


class Bench:
    """What every job works with: the comparison, and what is opened for it."""

    def __init__(self, folder: ComparisonFolder, cache: Path | None, should_stop: Callable[[], bool]) -> None:
        self.folder, self._cache, self.should_stop = folder, cache, should_stop
        self.config: CompareConfig = read_comparison(folder.config)

    @cached_property
    def model(self) -> OpenedModel:
        return open_model(self.config.any_train_config.model)

    @cached_property
    def clips(self) -> ClipCache:
        config = self.config.any_train_config
        return prepare(config.folder, self.model, config.clips, cache=self._cache, progress=self._progress).cache

    @cached_property
    def digest(self) -> str:
        """A hash of all that trainings have in common: the clips as they were encoded, and the model's files."""
        told = {"clips": self.clips.digest, **hashes_of(self.model.files)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _progress(self, done: int, total: int, what: str) -> None:
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raise where somebody wants an end; nothing is lost by it but what is being done."""
        if self.should_stop():
            raise StoppedError


def look_at_base(bench: Bench) -> None:
    """Encode the clips, and write what they are and what the base loses on those held out."""
    cache, config, model = bench.clips, bench.config, bench.model
    if not cache.held_out:
        remedy = "Give more clips, or a larger held_out"
        raise TrainingError(cache.folder, "no clip is held out, and nothing could be compared", remedy=remedy)
    hashes = hashes_of(model.files)
    settings = {method: config.train_config(Run(method, 1.0, 0)) for method in config.settings.methods}
    bases = {base: settings[method] for method in settings for base in BASES[method]}
    losses = {base: held_out_losses(judged_model(model, used, base), used, cache) for base, used in bases.items()}
    found = {
        "digest": bench.digest,
        "num_trained": len({clip.source for clip in cache.trained}),
        "num_held_out": len({clip.source for clip in cache.held_out}),
        "num_measured": min(len(cache.held_out), MAX_HELD_OUT),
        "model": model.spec.title,
        "files": {piece: {"file": path.name, "sha256": hashes[piece]} for piece, path in model.files.items()},
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "held_out": losses,
        "environment": environment(),
    }
    write_json(found, bench.folder.prepared)


def train_one(bench: Bench, method: str, lr: str, seed: str) -> None:
    """Train, or go on with it, and write what it has led to."""
    run = Run(method, float(lr), int(seed))  # type: ignore[arg-type]  # the configuration refuses others
    config, folder = bench.config.train_config(run), bench.folder.run(run)
    model, cache = bench.model, bench.clips
    started, used, is_over = time.perf_counter(), time.process_time(), True
    try:
        trained = train(config, model, cache, folder.path, resume=folder.config.exists(), should_stop=bench.should_stop)
        is_over = bool(trained.files)
    except DivergedError as error:
        write_json({"digest": bench.digest, "diverged": str(error)}, bench.folder.judged(run))
        return
    finally:
        took = time.perf_counter() - started, time.process_time() - used
        _note_session(bench.folder.sessions(run), *took)
    if not is_over:
        raise StoppedError
    write_json(_judge(bench, config, run), bench.folder.judged(run))


def _judge(bench: Bench, config: TrainConfig, run: Run) -> dict[str, Any]:
    """Return what a finished training has led to; what does not change with the seed is found out with the first."""
    files = read_record(bench.folder.run(run).record)
    if files is None:
        raise _damaged(bench.folder.run(run).path)
    losses = {
        base: held_out_losses(judged_model(bench.model, config, base, files), config, bench.clips)
        for base in BASES[run.method]
    }
    if not all(math.isfinite(loss) for by_expert in losses.values() for loss in by_expert.values()):
        return {"digest": bench.digest, "diverged": "the held-out loss is no number"}
    found: dict[str, Any] = {"digest": bench.digest, "held_out": losses}
    if run.seed == bench.config.settings.seeds[0]:
        found["probe"] = probe(config, bench.model, bench.clips)
    return found


def _note_session(path: Path, seconds: float, processor_seconds: float) -> None:
    """Add what this process has taken to what others took before it was stopped."""
    import torch

    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    row = {
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "system_bytes": process_peak_bytes(),
        "device_bytes": peak_bytes() if on_gpu else None,
        "reserved_bytes": torch.cuda.max_memory_reserved() if on_gpu else None,
    }
    before = (read_json(path) or {}).get("sessions", [])
    write_json({"sessions": [*before, row]}, path)


def watch(bench: Bench, *names: str) -> None:
    """Make the videos of all subjects that are named, and write what is read from them; those that have it are done."""
    best = best_rates(bench.config, bench.folder)
    for subject in subjects_of(bench.config, best):
        if subject.name in names:
            _watch_one(bench, subject)


def _watch_one(bench: Bench, subject: Subject) -> None:
    run, files = subject.run, None
    config = bench.config.any_train_config
    if run is not None:
        config, files = bench.config.train_config(run), read_record(bench.folder.run(run).record)
        if files is None:
            raise _damaged(bench.folder.run(run).path)
    elif subject.base == "packed":
        config = bench.config.train_config(Run("qlora", 1.0, 0))
    judged = judged_model(bench.model, config, subject.base, files)
    plain = bench.folder.videos(Subject("plain").name)
    from_base = None if subject == Subject("plain") else plain
    folder = bench.folder.videos(subject.name)
    found = read_videos(judged, bench.config, bench.clips, folder, from_base, bench.stop_if_asked)
    write_json(found, bench.folder.readings(subject.name))


def _damaged(folder: Path) -> TrainingError:
    remedy = "Remove the folder, and start the comparison again, which trains it anew"
    return TrainingError(folder, "the files are not as the training has written them", remedy=remedy)


JOBS: Mapping[str, Callable[..., None]] = {"base": look_at_base, "train": train_one, "videos": watch}


def main(arguments: list[str]) -> int:
    """Do a job; return how it ended."""
    job, folder, cache, *names = arguments

    def work(should_stop: Callable[[], bool]) -> None:
        bench = Bench(ComparisonFolder(Path(folder)), Path(cache) if cache else None, should_stop)
        JOBS[job](bench, *names)

    return do_job(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
