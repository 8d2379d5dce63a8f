"""The twin of an entry's high-noise file: the low-noise file beside it, brought along unless that is switched off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import LoraFileError
from ..experts import find_twin
from ..files.report import inspect_lora
from .entry import LoraEntry
from .finding import find_lora


def with_twin(entry: LoraEntry, lora_folders: Sequence[str | Path] = ()) -> LoraEntry:
    """Return the entry with the low-noise file beside its own, or unchanged if it wants none or there is none.

    A high-noise file wants one if it is left to what it says of itself and has nothing for the low-noise expert. A twin
    is held to the LoRA folders as any file is.
    """
    is_alone = entry.low_noise_path is None and entry.low_noise_weights is None
    if entry.path is None or not (entry.find_twin and entry.applies_to == "auto" and is_alone):
        return entry
    try:
        twin = find_twin(entry.path)
    except LoraFileError:
        return entry
    file = entry.weights or inspect_lora(entry.path)
    if file.expert != "high_noise":
        return entry
    return replace(entry, low_noise_path=find_lora(twin, lora_folders), found_twin=True)
