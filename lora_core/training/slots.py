"""The slots of a model's experts: each is to hold the file of its own expert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..checkpoints.checkpoint import open_checkpoint
from ..errors import TrainingError
from ..experts import EXPERTS, Expert
from ..experts.words import expert_in_name
from ..families.base import ModelSpec
from ..families.opened import OpenedModel
from ..families.registry import find_family
from ..files.expert import expert_in_metadata
from ..wording import said

#: Expert -> its file among `OpenedModel.files`, and the key that names it.
_SLOTS: Mapping[Expert, tuple[str, str]] = {"high_noise": ("high", "model"), "low_noise": ("low", "low_noise")}


def check_slots(model: OpenedModel) -> None:
    """Raise where the file of one expert is given as the other, as its metadata or else its name tells.

    A LoRA would learn one expert's noise levels on the other's weights, and nothing would show why it does no good.
    """
    if model.spec.num_experts == 1:
        return
    files = {slot: model.files[piece] for slot, (piece, _) in _SLOTS.items()}
    told = {slot: _told_expert(file, model.spec) for slot, file in files.items()}
    wrong = {slot: found for slot, found in told.items() if found is not None and found[0] != slot}
    for slot, (expert, source) in wrong.items():
        what = said(
            "is the {expert} expert by {source}, given as the {slot} one",
            expert=_words(expert),
            source=source,
            slot=_words(slot),
        )
        key, are_swapped = _SLOTS[slot][1], len(wrong) == len(EXPERTS)
        remedy = (
            "Exchange the two files"
            if are_swapped
            else said("Give the {slot} expert's file as {key}", slot=_words(slot), key=key)
        )
        raise TrainingError(files[slot], what, remedy=remedy)


def _told_expert(path: Path, spec: ModelSpec) -> tuple[Expert, str] | None:
    """Return (the expert that a file of weights is, what told it), None where nothing does."""
    stated = expert_in_metadata(open_checkpoint(path).metadata, find_family(spec))
    if stated is not None:
        return stated
    named = None if path.is_dir() else expert_in_name(path.stem)
    return None if named is None else (named, f"its name {path.name!r}")


def _words(expert: Expert) -> str:
    return expert.replace("_", "-")
