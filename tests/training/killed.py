"""What is killed while it runs: functions for processes of their own, forked from one that has no threads yet."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
from training.pocket_clips import pocket

from lora_core.cli.ending import asked_to_end
from lora_core.training.checkpoints import checkpoints_in, prune, step_of, write_checkpoint
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.train import train


def processes() -> ForkServerContext:
    """Return what starts processes that have all of this imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.killed"])
    return context


def state_of(step: int) -> dict[str, Any]:
    """Return a state of a few megabytes that tells its step in every number."""
    return {"learners": {"low_noise": {"weights": {str(i): torch.full((64, 1024), step + i) for i in range(16)}}}}


def write_files(folder: Path) -> None:
    (folder / "high_noise.safetensors").write_bytes(os.urandom(1 << 20))


def write_on_and_on(folder: Path) -> None:
    """Write checkpoint after checkpoint, as a training does that saves every step."""
    done = checkpoints_in(folder)
    step = step_of(done[-1]) if done else 0
    while True:
        step += 1
        write_checkpoint(folder, step, state_of(step), write_files)
        prune(folder, keep_last=2, keep_every=0, also=None)


def train_until_told(clips: ClipCache, out: Path, keys: dict[str, Any]) -> None:
    """Train as the command line does, which ends a step later when it is asked to."""
    with asked_to_end() as should_stop:
        train(make_config(keys), pocket(), clips, out, should_stop=should_stop)
