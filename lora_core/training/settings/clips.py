"""The keys that say how clips become what a network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...checks import finite_number, known, whole_number
from ...errors import TrainingError
from ...media.rate import check_fps
from ...wording import said

Cut = Literal["head", "middle", "uniform", "sliding"]
CUTS: tuple[Cut, ...] = ("head", "middle", "uniform", "sliding")


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How a folder of clips is read, cut, sized and split.

    Attributes:
        trigger: words put in front of every caption; "" for none.
        default_caption: the caption of clips that have none; "" leaves such clips out.
        caption_from_trigger: let the trigger alone be the caption of clips that have none.
        num_frames: frames of a training clip at the model's rate, 4k+1; 0 for the model's own.
        resolution: the side of the square whose area clips are scaled to, in pixels; 0 for the model's own area.
        min_frames: the fewest frames a clip is used with; shorter ones are left out. 0 for `num_frames`.
        fps: the rate clips are resampled to; 0 for the model's own.
        cut: which part of a long clip is used: its head, its middle, `num_windows` spread over it, or windows one
            behind the other.
        num_windows: how many windows `uniform` takes.
        flip: also train on the mirrored clip.
        num_crops: how many randomly placed crops are cached, instead of the one in the middle.
        background: what stands behind transparency, as red, green, blue in hexadecimal.
        max_upscale: how many times a clip may be enlarged before it is left out.
        max_bad: the share of files at fault from which a run does not start.
        min_clips: the fewest usable clips a run starts from; of a single one nothing but that one can be learnt.
        held_out: the share of clips that are kept for validation, where none is marked in the metadata.
    """

    trigger: str = ""
    default_caption: str = ""
    caption_from_trigger: bool = False
    num_frames: int = 0
    resolution: int = 0
    min_frames: int = 0
    fps: float = 0.0
    cut: Cut = "head"
    num_windows: int = 3
    flip: bool = False
    num_crops: int = 0
    background: str = "000000"
    max_upscale: float = 2.0
    max_bad: float = 0.5
    min_clips: int = 2
    held_out: float = 0.1

    def __post_init__(self) -> None:
        known(self.cut, CUTS, "cut", TrainingError)
        for name in ("num_frames", "resolution", "min_frames", "num_crops"):
            whole_number(getattr(self, name), name, TrainingError, low=0)
        for name in ("num_windows", "min_clips"):
            whole_number(getattr(self, name), name, TrainingError, low=1)
        for name in ("flip", "caption_from_trigger"):
            if not isinstance(getattr(self, name), bool):
                raise TrainingError(
                    name,
                    said("{value!r:.60} is neither true nor false", value=getattr(self, name)),
                    remedy="Write true or false",
                )
        if finite_number(self.fps, "fps", TrainingError):
            check_fps(self.fps, "fps", TrainingError)
        if finite_number(self.max_upscale, "max_upscale", TrainingError) <= 0:
            raise TrainingError(
                "max_upscale", f"{self.max_upscale:g}", expected="above 0, 1 to enlarge nothing", remedy="Raise it"
            )
        for name in ("max_bad", "held_out"):
            if not 0 <= finite_number(getattr(self, name), name, TrainingError) <= 1:
                raise TrainingError(
                    name,
                    said("{value:g} is no share", value=getattr(self, name)),
                    expected="0 to 1",
                    remedy="Choose a number in that range",
                )
