"""The keys of the objective `extend-length`: which length is known, how the longer one is attended to and reached."""

from __future__ import annotations

from dataclasses import dataclass

from ...checks import finite_number, whole_number
from ...errors import TrainingError
from ...wording import said


@dataclass(frozen=True, kw_only=True)
class LengthSettings:
    """How a network learns to make longer clips; `num_frames` is the longer length.

    Attributes:
        base_frames: frames of the length that is known, 4k + 1, trained beside the longer one on the beginnings of the
            same clips; 0 for the model's own.
        base_weight: what the loss at that length weighs against the one at the longer length; 0 trains that alone.
        progressive: in how many stages the length grows from the known one; 1 trains at the longer length throughout.
        radial_decay: as in `RadialGeometry`: the width of the bands that frames see of each other.
        dense_blocks: how many of the first blocks stay dense.
        consistency: experimental: what the distance weighs between what is predicted for the beginning of a longer
            clip and what the network without the LoRA predicts for it alone, at the same latents, noise and t.
    """

    base_frames: int = 0
    base_weight: float = 1.0
    progressive: int = 1
    radial_decay: float = 1.0
    dense_blocks: int = 2
    consistency: float = 0.0

    def __post_init__(self) -> None:
        for name in ("base_frames", "dense_blocks"):
            whole_number(getattr(self, name), name, TrainingError, low=0)
        whole_number(self.progressive, "progressive", TrainingError, low=1)
        for name in ("base_weight", "consistency"):
            if finite_number(getattr(self, name), name, TrainingError) < 0:
                what = said("{value:g} is negative", value=getattr(self, name))
                raise TrainingError(name, what, expected="0 or more", remedy="Raise it")
        if finite_number(self.radial_decay, "radial_decay", TrainingError) <= 0:
            what = said("{value:g} leaves nothing of a band", value=self.radial_decay)
            expected = "above 0, 1 in the paper's long videos"
            raise TrainingError("radial_decay", what, expected=expected, remedy="Raise it")
