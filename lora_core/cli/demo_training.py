"""The part of the demo that trains: a small LoRA from the clips in `examples/clips`, in the time a coffee takes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lora_core

if TYPE_CHECKING:
    from ..families.opened import OpenedModel
    from ..progress import Progress

#: The clips that come with the project; they show what no embedded LoRA knows.
CLIPS = Path(lora_core.__file__).parents[1] / "examples" / "clips"
NAME, SUBJECT = "blorp", "a blorp moves right on a striped background"
FILES = (f"{NAME}_high_noise.safetensors", f"{NAME}_low_noise.safetensors", "loss.png")
#: Measured less often than the preset does, for that takes as long as the steps between.
KEYS: Mapping[str, Any] = {"preset": "character", "name": NAME, "model": "pocket", "validate_every": 70}


def can_train() -> bool:
    """Say whether the clips are here: they lie in the project, not in the installed package."""
    return CLIPS.is_dir()


def train_live(out: Path, model: OpenedModel, seed: int, report: Progress) -> Path:
    """Train the LoRA, put its files and the plot of its losses into `out`, and return the high-noise file."""
    from ..training.clips.prepare import prepare
    from ..training.config import make_config
    from ..training.listener import Listener, StepReport
    from ..training.train import train

    class Status(Listener):
        def step(self, step: StepReport) -> None:
            report(step.step, step.num_steps, "training a LoRA")

    config = make_config({**KEYS, "clips": str(CLIPS), "seed": seed})
    with tempfile.TemporaryDirectory(dir=out, prefix=".training-") as folder:
        cache = prepare(CLIPS, model, config.clips, cache=Path(folder) / "cache", progress=report).cache
        train(config, model, cache, Path(folder) / "run", listener=Status())
        for name in FILES:
            shutil.move(Path(folder) / "run" / name, out / name)
    return out / FILES[0]
