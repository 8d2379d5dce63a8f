"""The LoRAs that a merged file was made of, as its metadata tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

#: The metadata entries in which a merge tells its LoRAs, how it was made, and what became of each layer.
SOURCES_KEY, RECIPE_KEY, LAYERS_KEY = "merged_from", "merge", "merge_layers"


@dataclass(frozen=True)
class MergedFrom:
    """What was merged.

    Attributes:
        sources: name and strength of each LoRA.
        error: what the merge left out, as a share of the whole change.
    """

    sources: tuple[tuple[str, float], ...]
    error: float


def merged_from(metadata: Mapping[str, str]) -> MergedFrom | None:
    """Return what a merge wrote into a file; None where there is nothing that reads as that."""
    try:
        rows = json.loads(metadata[SOURCES_KEY])
        error = float(json.loads(metadata[RECIPE_KEY])["relative_error"])
        return MergedFrom(tuple((str(row["name"]), float(row["strength"])) for row in rows), error)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
