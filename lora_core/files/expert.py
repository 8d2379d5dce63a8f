"""The expert a LoRA file is meant for, as its metadata tell it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..experts import EXPERTS, Expert, expert_in_name
from ..families.family import Family

#: The metadata entry in which this project states the expert.
EXPERT_KEY = "expert"


def expert_in_metadata(metadata: Mapping[str, str], family: Family | None) -> tuple[Expert, str] | None:
    """Return (the expert, the entry that tells it): stated outright, or by the timesteps of the training."""
    stated = next((expert for expert in EXPERTS if metadata.get(EXPERT_KEY) == expert), None)
    if stated:
        return stated, f"metadata {EXPERT_KEY!r}"
    numbers = re.findall(r"\d+(?:\.\d+)?", metadata.get("modelspec.timestep_range", ""))
    if len(numbers) == 2 and family is not None:  # musubi-tuner's --min_timestep, --max_timestep
        lowest, highest = map(float, numbers)
        if (expert := family.origin.expert_of_timesteps(lowest, highest)) is not None:
            return expert, f"metadata 'modelspec.timestep_range' {lowest:g} to {highest:g}"
    return None


def expert_of_training(metadata: Mapping[str, str]) -> tuple[Expert, str] | None:
    """Return (the expert, the entry) told by a name in the metadata: the output's, or the checkpoint's trained on."""
    for key in ("ss_output_name", "modelspec.title", "ss_sd_model_name", "name"):
        expert = expert_in_name(Path(metadata.get(key, "")).stem)
        if expert is not None:
            return expert, f"metadata {key!r} {metadata[key]!r}"
    return None
