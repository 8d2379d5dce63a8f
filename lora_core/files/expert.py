"""The expert a LoRA file is meant for, told from its metadata; and the file of the other expert beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import LoraFileError
from ..experts import expert_in_name, twin_names
from ..families.base import EXPERTS, Expert

#: The metadata entry in which this project states the expert.
EXPERT_KEY = "expert"

#: Above this, the lower end of a timestep range (0 to 1000) is the high expert's; below, the upper end is the low's.
_MIN_HIGH_TIMESTEP = 800
_MAX_LOW_TIMESTEP = 925


def expert_in_metadata(metadata: Mapping[str, str]) -> tuple[Expert, str] | None:
    """Return (the expert, the entry that tells it): stated outright, or by the timesteps of the training."""
    stated = next((expert for expert in EXPERTS if metadata.get(EXPERT_KEY) == expert), None)
    if stated:
        return stated, f"metadata {EXPERT_KEY!r}"
    numbers = re.findall(r"\d+(?:\.\d+)?", metadata.get("modelspec.timestep_range", ""))
    if len(numbers) == 2:  # musubi-tuner writes it when --min_timestep or --max_timestep is given
        lowest, highest = map(float, numbers)
        source = f"metadata 'modelspec.timestep_range' {lowest:g} to {highest:g}"
        if lowest >= _MIN_HIGH_TIMESTEP:
            return "high_noise", source
        if highest <= _MAX_LOW_TIMESTEP:
            return "low_noise", source
    return None


def expert_of_training(metadata: Mapping[str, str]) -> tuple[Expert, str] | None:
    """Return (the expert, the entry) told by a name in the metadata: the output's, or the checkpoint's trained on."""
    for key in ("ss_output_name", "modelspec.title", "ss_sd_model_name", "name"):
        expert = expert_in_name(Path(metadata.get(key, "")).stem)
        if expert is not None:
            return expert, f"metadata {key!r} {metadata[key]!r}"
    return None


def find_twin(path: str | Path) -> Path:
    """Return the other expert's file beside `path`, found by the words for high and low in its name."""
    path = Path(path)
    names = twin_names(path)
    if not names:
        expected = "high_noise/low_noise, HIGH/LOW, HN/LN or a final _h/_l"
        remedy = "Name the other expert's file yourself"
        raise LoraFileError(
            path, "its name does not tell its expert, so it has no twin", expected=expected, remedy=remedy
        )
    try:
        present = {candidate.name.lower(): candidate for candidate in path.parent.iterdir() if candidate.is_file()}
    except OSError as error:
        raise LoraFileError(path.parent, f"the folder cannot be read: {error.strerror}") from error
    for name in names:
        exact = path.with_name(name)
        twin = exact if exact.is_file() else present.get(name.lower())
        if twin is not None and twin.name != path.name:
            return twin
    remedy = "Put it there under that name, or name the file yourself"
    raise LoraFileError(
        path, "the other expert's file is not beside it", expected=f"looked for {', '.join(names)}", remedy=remedy
    )
