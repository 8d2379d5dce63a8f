"""The keys that say how a training is watched and kept: validation, previews, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...checks import finite_number, known, whole_number
from ...errors import TrainingError
from ...wording import said

TrackerName = Literal["tensorboard", "trackio"]
TRACKERS: tuple[TrackerName, ...] = ("tensorboard", "trackio")


@dataclass(frozen=True, kw_only=True)
class WatchingSettings:
    """How a training is watched, and what of it is kept.

    Attributes:
        validate_every: steps between two measurements of the held-out loss; 0 for none.
        num_levels: at how many fixed noise levels of each expert it is measured.
        patience: how many measurements without a better one end the training; 0 for never.
        preview_every: steps between two previews; 0 for none.
        preview_prompts: what previews show; empty for the captions of the first clips.
        preview_seed: of their noise.
        preview_steps: their steps; 0 for the model's own.
        preview_cfg: their guidance; 0 for the model's own.
        preview_negative: what they shall not show, where they are guided.
        save_every: steps between two checkpoints; 0 for none but the last.
        keep_last: how many of the latest checkpoints are kept.
        keep_every: checkpoints at multiples of this are kept for good; 0 for none.
        full_rank: of the LoRA that a `full` training writes by singular values; 0 to write all weights.
        trackers: where else losses are logged.
    """

    validate_every: int = 100
    num_levels: int = 4
    patience: int = 0
    preview_every: int = 0
    preview_prompts: tuple[str, ...] = ()
    preview_seed: int = 0
    preview_steps: int = 0
    preview_cfg: float = 0.0
    preview_negative: str = ""
    save_every: int = 250
    keep_last: int = 2
    keep_every: int = 0
    full_rank: int = 0
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = ("validate_every", "patience", "preview_every", "preview_seed", "preview_steps")
        for name in (*counts, "save_every", "keep_every", "full_rank"):
            whole_number(getattr(self, name), name, TrainingError, low=0)
        for name in ("num_levels", "keep_last"):
            whole_number(getattr(self, name), name, TrainingError, low=1)
        if finite_number(self.preview_cfg, "preview_cfg", TrainingError) < 0:
            raise TrainingError(
                "preview_cfg",
                said("{preview_cfg:g} is negative", preview_cfg=self.preview_cfg),
                expected="0 for the model's own",
                remedy="Raise it",
            )
        for name in self.trackers:
            known(name, TRACKERS, "trackers", TrainingError)
