"""A training in a process of its own, which from some step on may take only little more memory than it has.

    python limited.py CLIPS FOLDER STEP MIB STOP [KEY=VALUE ...]

CLIPS is a pickled cache. The address space ends MIB above what is taken behind STEP, 0 for the time before the first
step. It is stopped after step STOP, to be gone on with elsewhere.
"""

from __future__ import annotations

import pickle
import resource
import sys
from dataclasses import replace
from pathlib import Path

import psutil
from training.pocket_clips import neon_clips, pocket

from lora_core.errors import TrainingError
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config, parse_settings
from lora_core.training.listener import Listener, StepReport
from lora_core.training.train import train

#: Enough to take some hundred MiB for its activations.
KEYS = {
    "clips": "x",
    "name": "n",
    "steps": 4,
    "rank": 2,
    "batch_size": 16,
    "experts": "low",
    "validate_every": 0,
    "save_every": 0,
}


class Limiting(Listener):
    def __init__(self, at_step: int, more: int) -> None:
        self.at_step, self.more, self.steps = at_step, more, list[int]()

    def limit(self) -> None:
        taken = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (taken + self.more * 2**20, resource.RLIM_INFINITY))

    def step(self, report: StepReport) -> None:
        self.steps.append(report.step)
        if len(self.steps) == self.at_step:
            self.limit()

    def note(self, text: str) -> None:
        print(text)


def many_clips(folder: Path) -> ClipCache:
    """Return the same four clips eight times."""
    clips = neon_clips(folder, num_clips=4, num_held_out=0)
    return replace(clips, clips=clips.clips * 8)


def main(clips: ClipCache, folder: Path, at_step: int, more: int, stop_after: int, settings: list[str]) -> None:
    config = make_config(KEYS | parse_settings(settings))
    listener = Limiting(at_step, more)
    pocket().expert("low_noise")
    if at_step == 0:
        listener.limit()
    try:
        trained = train(config, pocket(), clips, folder / "out", stop_after=stop_after, listener=listener)
        print(f"{trained.step} steps are done, as {listener.steps}")
    except TrainingError as error:
        print(f"error: {error}")


if __name__ == "__main__":
    told = pickle.loads(Path(sys.argv[1]).read_bytes())
    main(told, Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6:])
