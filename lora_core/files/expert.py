"""The expert a LoRA file is meant for, as its metadata tell it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..experts import EXPERTS, Expert, expert_in_name

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
