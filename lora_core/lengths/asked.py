"""What is asked of a model at every length: prompts, noise, and how it is sampled; checked before anything is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..checks import whole_number
from ..engine.request import GenerationRequest, Picture
from ..errors import RequestError
from ..families.base import ModelSpec
from ..sampling.noise import MAX_SEED

#: What nobody waits for.
_MOST_LENGTHS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class LengthsAsked:
    """What is made at every length.

    Attributes:
        frames: the lengths, each 4k+1; told of from the shortest to the longest.
        prompts: a video each; the n-th one has the noise of the seed n further on, at every length.
        num_steps, cfg, shift: how they are sampled; None for the model's own.
        seed: of the first prompt's noise.
        height, width: in pixels; None for the model's own.
        image: what videos begin with, for models that take a picture.
        negative_prompt: read where guidance is not 1.

    Raises:
        RequestError: no lengths, or one twice; no prompts.
    """

    frames: tuple[int, ...]
    prompts: tuple[str, ...]
    num_steps: int | None = None
    cfg: float | tuple[float, float] | None = None
    shift: float | None = None
    seed: int = 0
    height: int | None = None
    width: int | None = None
    image: Picture | None = None
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        if not self.frames:
            raise RequestError("frames", "none are given", expected="lengths such as 17,33,49,65", remedy="Give some")
        for count in self.frames:
            whole_number(count, "frames", RequestError, low=2)
        if twice := next((count for count in self.frames if self.frames.count(count) > 1), None):
            raise RequestError("frames", f"{twice} is given twice", remedy="Leave one out")
        if len(self.frames) > _MOST_LENGTHS:
            what = f"{len(self.frames)} lengths"
            raise RequestError("frames", what, expected=f"at most {_MOST_LENGTHS}", remedy="Choose fewer")
        if not self.prompts:
            what = "none are given, and only the embedded model has some of its own"
            raise RequestError("prompts", what, remedy="Say what the videos shall show")
        whole_number(self.seed, "seed", RequestError, low=0, high=MAX_SEED - len(self.prompts))
        object.__setattr__(self, "frames", tuple(sorted(self.frames)))

    def requests(self, spec: ModelSpec, num_frames: int) -> Sequence[GenerationRequest]:
        """Return the videos of one length, one for each prompt."""
        return [
            GenerationRequest(
                prompt,
                self.negative_prompt,
                self.image,
                num_frames=num_frames,
                height=self.height,
                width=self.width,
                seed=self.seed + place,
                num_steps=spec.default_num_steps if self.num_steps is None else self.num_steps,
                cfg=spec.default_cfg if self.cfg is None else self.cfg,
                shift=spec.default_shift if self.shift is None else self.shift,
            )
            for place, prompt in enumerate(self.prompts)
        ]
