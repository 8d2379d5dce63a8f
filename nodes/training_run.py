"""A run of the trainer beside the host: from what is asked at the node to what lies in the host's folders.

Imported when something is trained: what it needs of `lora_core` takes longer to import than all else of the extension.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import torch

from ..lora_core import Expert
from ..lora_core.cli.training_process import run_training
from ..lora_core.errors import TrainingError
from ..lora_core.training.clips.from_frames import FramesOfClips, write_clips
from ..lora_core.training.config import TrainConfig
from ..lora_core.training.result import read_record
from ..lora_core.training.run_folder import RunFolder
from ..lora_core.training.standing import Standing, standing_of
from ..lora_core.training.summary import summary_of
from ..lora_core.wording import Said, joined, plain, said
from .clip_folders import files_in
from .folders import trainings_folder
from .live_training import LiveTraining
from .pictures import as_frames
from .trained_files import check_free, install


@dataclass(frozen=True)
class FinishedRun:
    """A training that is over.

    Attributes:
        names: expert -> its file, as the host lists it.
        report: what was trained, and how it went, for people.
        state: what the page draws.
    """

    config: TrainConfig
    folder: RunFolder
    names: dict[Expert, str]
    report: Said
    state: dict[str, object]


def run(config: TrainConfig, clips: FramesOfClips | None = None, notes: tuple[str, ...] = ()) -> FinishedRun:
    """Train what is left to train of a configuration, put the files among the host's, and report on it.

    Args:
        config: every key.
        clips: what is in its folder of clips, where that is not there yet.
        notes: what else the report shall say.
    """
    folder = RunFolder(trainings_folder() / config.name)
    how = _standing(folder, config)
    live = LiveTraining(folder, config.learning.steps)
    if how == "finished":
        live.status = said("done")
        told = [said("it was over already; nothing was trained anew"), *_changed_since(folder, config.folder)]
    else:
        check_free(config)
        if clips is not None:
            write_clips(clips, folder.path)
        _train(config, folder, live, resume=how == "unfinished")
        began = [said("it went on from where it had stopped")] if how == "unfinished" else []
        told = [*began, *live.notes]
    names = install(read_record(folder.record) or {}, config)
    wrote = [said("wrote {name}", name=name) for name in names.values()]
    rest = said("all else is in {folder}", folder=str(folder.path))
    lines = [*summary_of(folder, config.name), *wrote, *told, *notes, rest]
    return FinishedRun(config, folder, names, joined("\n", lines), live.state(is_running=False))


def clips_of(images: torch.Tensor, captions: str, fps: float) -> FramesOfClips:
    """Return an IMAGE as clips, one for each line of captions."""
    lines = (line.strip() for line in captions.splitlines())
    return FramesOfClips(as_frames(images), tuple(line for line in lines if line), fps)


def _standing(folder: RunFolder, config: TrainConfig) -> Standing:
    """Say whether a training of this name is there, and how far; one with other settings is refused."""
    try:
        return standing_of(folder, config)
    except TrainingError as error:
        if not folder.config.is_file():
            raise
        what = said("the name {name!r} is taken: {why}", name=config.name, why=plain(error.what))
        remedy = "Choose another name, or the same settings to go on with it"
        raise TrainingError("name", what, remedy=remedy) from error


def _train(config: TrainConfig, folder: RunFolder, live: LiveTraining, *, resume: bool) -> None:
    """Train in a process of its own, with the host's memory free; the page is told how it goes.

    An interrupt of the host ends the training behind the step it is at, with a checkpoint.
    """
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    live.tell()
    with tempfile.TemporaryDirectory(prefix="wanloom-training-") as scratch:
        file = Path(scratch) / "config.toml"
        file.write_text(config.to_toml(), encoding="utf-8")
        # Encoded clips are known by what they were made of, so that all trainings can share them.
        cache = trainings_folder().parent / "clip-cache"
        arguments = [file, "--out", folder.path, "--cache", cache, *(["--resume"] if resume else [])]
        try:
            run_training(arguments, tell=live.hear, pause=live.beat)
        except BaseException:
            live.end(said("stopped"))
            raise
    live.end(said("done"))


def _changed_since(folder: RunFolder, clips: Path) -> list[str]:
    """Say which clips were changed after the training was over, which that training did not see."""
    over = folder.record.stat().st_mtime_ns
    changed = [file.name for file in files_in(clips) if file.stat().st_mtime_ns > over]
    if not changed:
        return []
    return [
        said(
            "note: {count} file changed since then; choose another name to train on them"
            if len(changed) == 1
            else "note: {count} files changed since then; choose another name to train on them",
            count=len(changed),
        )
    ]
