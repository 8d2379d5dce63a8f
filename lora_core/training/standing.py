"""The standing of a training in a folder: not begun yet, to be gone on with, or over."""

from __future__ import annotations

from typing import Literal

from .config import TrainConfig
from .result import read_record
from .run_folder import RunFolder

Standing = Literal["new", "unfinished", "finished"]


def standing_of(folder: RunFolder, config: TrainConfig) -> Standing:
    """Say what of a configuration's training there is in a folder.

    Raises:
        TrainingError: what is there is a training with other settings; every difference is named.
        OutputError: nothing can be written here.
    """
    is_there = folder.config.exists()
    folder.check(config, resume=is_there)
    if not is_there:
        return "new"
    return "unfinished" if read_record(folder.record) is None else "finished"
