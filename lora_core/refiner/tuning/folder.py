"""The folder of a tuning: its places, and whether one may begin or go on there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...atomic import write_text
from ...checks import first_few
from ...errors import TrainingError
from ...training.config import differences
from ...training.run_folder import JobFolder
from ...wording import said
from ..sources import RESULT
from .config import TuneConfig, read_tune_config

#: Keys that change nothing of what is learnt; a tuning may go on with other values of them.
FREE_KEYS = frozenset({"name", "validate_every", "checkpoint_every", "keep_checkpoints", "log_every", "device"})


class TuneFolder(JobFolder):
    """The places in the folder of a tuning."""

    @property
    def refiner(self) -> Path:
        """What came of it: a model's folder, or an adapter's."""
        return self.path / RESULT

    @property
    def drawn_before(self) -> tuple[str, ...]:
        return (self.inputs.name,)

    @property
    def inputs(self) -> Path:
        """The hashes of what it was begun with."""
        return self.path / "inputs.json"

    def check(self, config: TuneConfig, *, resume: bool) -> None:
        """Make sure that a new tuning may begin here, or that one to go on with is the same.

        Raises:
            OutputError: nothing can be written here.
            TrainingError: there is one already and `resume` is not asked for, or the other way round, or the
                configurations differ; every difference is named.
        """
        self.check_may_begin(resume=resume)
        if resume:
            _check_same(read_tune_config(self.config), config, self.path)

    def begin(self, config: TuneConfig) -> None:
        """Store the configuration of a tuning that begins here, or goes on."""
        write_text(config.to_toml(), self.config)


def _check_same(stored: TuneConfig, config: TuneConfig, where: object) -> None:
    there, here = (_binding(c.values()) for c in (stored, config))
    if stored.schedule == "constant" and config.steps > stored.steps:
        there.pop("steps"), here.pop("steps")  # more of the same
    if different := differences(there, here):
        named = first_few(different, 8, between="; ")
        what = said("the training here has other settings: {different}", different=named)
        raise TrainingError(where, what, remedy="Go on with the same, or start anew in another folder")


def _binding(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in FREE_KEYS}
