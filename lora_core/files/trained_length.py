"""The length that a LoRA extends clips to, as its file's metadata tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: The entries: attribute of `TrainedLength` -> its name in the metadata.
_KEYS: Mapping[str, str] = {
    "base_frames": "length_base_frames",
    "num_frames": "length_num_frames",
    "decay": "length_radial_decay",
    "dense_blocks": "length_dense_blocks",
}


@dataclass(frozen=True)
class TrainedLength:
    """How a LoRA learnt to make longer clips.

    Attributes:
        base_frames: frames of the length that its base knew.
        num_frames: frames of the length that it was trained at.
        decay, dense_blocks: of the radial attention that it was trained with, as in `RadialSettings`.
    """

    base_frames: int
    num_frames: int
    decay: float
    dense_blocks: int

    def to_metadata(self) -> dict[str, str]:
        """Return the entries of a file."""
        return {entry: f"{getattr(self, name):g}" for name, entry in _KEYS.items()}


def trained_length(metadata: Mapping[str, str]) -> TrainedLength | None:
    """Return what a file tells of its length; None of one that was trained for none, or tells it wrongly."""
    try:
        told = {name: float(metadata[entry]) for name, entry in _KEYS.items()}
    except (KeyError, TypeError, ValueError):
        return None
    counts = {name: round(value) for name, value in told.items() if name != "decay"}
    sound = 0 < counts["base_frames"] < counts["num_frames"] and counts["dense_blocks"] >= 0 and told["decay"] > 0
    return TrainedLength(**counts, decay=told["decay"]) if sound else None
