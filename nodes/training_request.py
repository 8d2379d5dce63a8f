"""What is asked of a training at the node, as the trainer's configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management

from ..lora_core.checks import known, known_keys
from ..lora_core.errors import TrainingError, relocated
from ..lora_core.training.presets import PRESETS
from ..lora_core.wording import said
from .base_files import named_files

if TYPE_CHECKING:
    from ..lora_core.training.config import TrainConfig

NO_PRESET = "none"
#: What the widgets set of themselves, whatever their values.
_OWN_KEYS = ("clips", "name", "preset", "trigger", "method", "experts")
#: The keys that decide how many steps there are, and what rank a preset means.
_PRESET_BY = ("name", "clips", "preset", "model", "steps")


@dataclass(frozen=True)
class TrainingRequest:
    """The values of the widgets.

    Attributes:
        num_previews: how many there are behind the first, which shows the base; 0 for none at all.
        numbers: keys whose 0 leaves them to the preset: rank, steps, lr and so on.
        settings: further keys, a line each.
    """

    name: str
    preset: str
    trigger: str = ""
    method: str = "lora"
    experts: str = "both"
    num_previews: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    settings: str = ""

    def check(self) -> None:
        """Raise what can be told without the model."""
        known(self.preset, (NO_PRESET, *PRESETS), "preset", TrainingError)
        check_name(self.name)
        named_files(self.further())

    def further(self) -> dict[str, Any]:
        """Return the keys of the lines of `settings`; unknown ones are refused, and those that widgets set."""
        from ..lora_core.training.config import all_keys, parse_settings

        with settings_located():
            keys = parse_settings(lines_of(self.settings))
        known_keys(keys, all_keys(), "settings", TrainingError)
        if "reward" in keys:  # workflows are passed around, and what one opens must not choose what is run
            what = "'reward' names a function to be run, which no workflow may"
            raise TrainingError("settings", what, remedy="Train by a reward with `lora-core train`")
        widgets = {*_OWN_KEYS, *(key for key, value in self.numbers.items() if value)}
        if both := [key for key in keys if key in widgets]:
            raise TrainingError(
                "settings", said("{first!r} is set by a widget too", first=both[0]), remedy="Leave the line out"
            )
        if self.num_previews and "preview_every" in keys:
            raise TrainingError("settings", "'preview_every' is set by 'previews' too", remedy="Set 'previews' to 0")
        return keys

    def config(self, clips: Path, files: Mapping[str, str]) -> TrainConfig:
        """Return the configuration of a training on a folder of clips, of the model whose files these are."""
        from ..lora_core.training.config import make_config

        numbers = {key: value for key, value in self.numbers.items() if value}
        if self.method == "full" and "rank" in numbers:
            numbers["full_rank"] = numbers.pop("rank")
        further = {key: value for key, value in self.further().items() if key not in files}
        given: dict[str, Any] = {
            "name": self.name.strip(),
            "clips": str(clips),
            "preset": "" if self.preset == NO_PRESET else self.preset,
            "trigger": self.trigger.strip(),
            "method": self.method,
            "experts": self.experts,
            "device": comfy.model_management.get_torch_device().type,
            **numbers,
            **files,
        }
        given |= further
        usual = make_config({key: given[key] for key in _PRESET_BY if key in given})
        if self.method == "full":
            given = {"full_rank": usual.adapter.rank} | given
        if self.num_previews:
            given["preview_every"] = math.ceil(usual.learning.steps / self.num_previews)
        return make_config(given)


def settings_located() -> AbstractContextManager[None]:
    """Let errors inside name the widget, where the command line has an option."""
    return relocated(lambda where: "settings" if where == "--set" else where)


def lines_of(text: str) -> Iterator[str]:
    """Return the lines of the widget that say something."""
    stripped = (line.strip() for line in text.splitlines())
    return (line for line in stripped if line and not line.startswith("#"))


def check_name(name: str) -> None:
    """Raise unless a text can be the name of files and of a folder, on every system."""
    stripped = name.strip()
    if not stripped or stripped != Path(stripped).name or stripped.startswith(".") or set('\\/:*?"<>|') & set(stripped):
        expected = "a word such as my_style, without slashes"
        raise TrainingError(
            "name",
            said("{name!r:.80} is no name for files", name=name),
            expected=expected,
            remedy="Choose another name",
        )
