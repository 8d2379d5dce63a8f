"""The expert a LoRA file is meant for, as its metadata, its name and its place tell it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ..experts import EXPERTS, Expert
from ..experts.twins import expert_of_path
from ..experts.words import expert_in_name
from ..families.family import Family
from ..wording import Said, expert_named, said

#: The metadata entry in which this project states the expert.
EXPERT_KEY = "expert"

#: musubi-tuner's name of the checkpoint trained on: `--dit`'s, which is the low-noise one also where both were trained.
_TRAINED_ON = "ss_sd_model_name"
_TIMESTEPS = "modelspec.timestep_range"


class Told(NamedTuple):
    """The expert of a file, what told it, and what to say of that: a note where it is one weak sign."""

    expert: Expert | Literal["both"] | None
    source: str = ""
    note: str = ""


def told_expert(path: Path, metadata: Mapping[str, str], family: Family | None) -> Told:
    """Return the expert of a file by the surest sign outside its tensors."""
    stated = expert_in_metadata(metadata, family)
    if stated is not None:
        return Told(*stated)
    placed = expert_of_path(path)
    if placed is not None:
        is_named = expert_in_name(path.stem) is not None
        return Told(*placed, "" if is_named else _guess(*placed))
    return _told_by_training(metadata, family)


def expert_in_metadata(metadata: Mapping[str, str], family: Family | None) -> tuple[Expert, str] | None:
    """Return (the expert, the entry that tells it): stated outright, or by the timesteps of the training."""
    stated = next((expert for expert in EXPERTS if metadata.get(EXPERT_KEY) == expert), None)
    if stated:
        return stated, said("metadata {key}", key=repr(EXPERT_KEY))
    span = _timesteps(metadata)
    if span is not None and family is not None and (expert := family.origin.expert_of_timesteps(*span)) is not None:
        return expert, _source(span)
    return None


def _told_by_training(metadata: Mapping[str, str], family: Family | None) -> Told:
    """Return the expert told by a name in the metadata: the output's, or the checkpoint's it was trained on."""
    for key in ("ss_output_name", "modelspec.title", _TRAINED_ON, "name"):
        expert = expert_in_name(Path(metadata.get(key, "")).stem)
        if expert is None:
            continue
        source = said("metadata {key} {value}", key=repr(key), value=repr(metadata[key]))
        span = _timesteps(metadata)
        if key == _TRAINED_ON and expert == "low_noise" and span is not None and family is not None:
            trained = _source(span)
            note = said("taken for both experts' by {source}, although {other}", source=trained, other=source)
            return Told("both", trained, note)
        return Told(expert, source, _guess(expert, source))
    return Told(None)


def _timesteps(metadata: Mapping[str, str]) -> tuple[float, float] | None:
    """Return musubi-tuner's --min_timestep and --max_timestep, which are 0 and 1000 where the user gave none."""
    numbers = re.findall(r"\d+(?:\.\d+)?", metadata.get(_TIMESTEPS, ""))
    return (float(numbers[0]), float(numbers[1])) if len(numbers) == 2 else None


def _guess(expert: Expert, source: str) -> str:
    return said(
        "taken for the {expert} expert's by {source} alone. Set applies_to if that is wrong",
        expert=expert_named(expert),
        source=source,
    )


def _source(span: tuple[float, float]) -> Said:
    return said(
        "metadata {key} {lowest} to {highest}", key=repr(_TIMESTEPS), lowest=f"{span[0]:g}", highest=f"{span[1]:g}"
    )
