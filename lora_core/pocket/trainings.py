"""The pocket's trainings, each run by the trainer as anybody's is: from files of clips, to files of weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..families.opened import OpenedModel
from ..families.registry import opener
from ..progress import Progress
from ..training.clips.prepare import prepare
from ..training.config import make_config
from ..training.listener import Listener, StepReport
from ..training.train import train
from ..training.validation import Measured
from .recipes import CLIP_KEYS, Training


class _Told(Listener):
    """What a training says, handed on as progress."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress
        self._measured = ""

    def step(self, report: StepReport) -> None:
        told = f"{self._name}: {report.expert} loss {report.loss:.4f}{self._measured}"
        self._progress(report.step, report.num_steps, told)

    def measured(self, measured: Measured) -> None:
        losses = ", ".join(f"{expert} {loss:.4f}" for expert, loss in measured.held_out.items())
        self._measured = f", held out {losses}"


def open_model(keys: Mapping[str, Any]) -> OpenedModel:
    """Open a model by the trainer's keys for it."""
    pieces = {name: value for name, value in keys.items() if name != "model"}
    return opener(keys["model"])(keys["model"], **pieces)


def run_training(training: Training, model: Mapping[str, Any], clips: Path, out: Path, progress: Progress) -> None:
    """Train what a recipe says on a folder of clips; a training that was cut off goes on.

    Args:
        training: the recipe.
        model: the trainer's keys that name the files of the model.
        clips: the folder.
        out: the folder of the training, where its result comes to.
        progress: told how far it is.
    """
    config = make_config({**CLIP_KEYS, **training.keys, **model, "clips": str(clips), "name": training.name})
    opened = open_model(model)
    prepared = prepare(clips, opened, config.clips, cache=clips.parent / f".cache-{clips.name}", progress=progress)
    train(config, opened, prepared.cache, out, resume=out.exists(), listener=_Told(training.name, progress))
