"""The mask of a LoRA over the tokens of a clip: its region and its time, as a network sees them.

A causal VAE makes the first latent frame of the first frame alone, and each other one of as many as its stride says
(four, in Wan's); a latent frame's mask is the mean of those of its frames. In space a token's is the mean over the
pixels that it stands for.

Letters: T frames of pixels, F H W latent frames, rows and columns of tokens. Masks are float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import finite_number, typed, whole_number
from ..errors import StackError, located
from ..families.base import ModelSpec
from ..stack.region import Region
from ..stack.time_curve import TimeCurve
from ..wording import Said, said
from .pictures import over_frames, region_pictures


class Placed(Protocol):
    """What is asked of a LoRA: where and when it acts; `LoraEntry` and `RoutedLora` have it."""

    @property
    def name(self) -> str: ...
    @property
    def region(self) -> Region | None: ...
    @property
    def over_time(self) -> TimeCurve | None: ...


@dataclass(frozen=True)
class ClipSize:
    """The clip that masks are made for: frames, rows and columns of pixels, frames per second."""

    num_frames: int
    height: int
    width: int
    fps: float

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width"):
            whole_number(getattr(self, name), name, StackError, low=1)
        if finite_number(self.fps, "fps", StackError) <= 0:
            what = said("{number:g} is no rate", number=self.fps)
            raise StackError("fps", what, expected="more than 0", remedy="Give the frames per second")

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.num_frames / self.fps


@typed(StackError)
def clip_masks(
    loras: Iterable[Placed], clip: ClipSize, spec: ModelSpec, *, frames: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Return name -> mask (F, H, W) of every LoRA that has a region or a time; see `clip_mask`."""
    placed: dict[str, Placed] = {}
    for lora in loras:
        if lora.region is not None or lora.over_time is not None:
            placed.setdefault(lora.name, lora)
    masks: dict[str, Tensor] = {}
    for name, lora in sorted(placed.items(), key=lambda item: _takes_rest(item[1])):
        with located(f"LoRA {name!r}"):
            if _takes_rest(lora):
                others = [masks[other] for other, its in placed.items() if its.region and not _takes_rest(its)]
                masks[name] = _rest(lora, others, clip, spec, frames)
            else:
                masks[name] = clip_mask(lora.region, lora.over_time, clip, spec, frames=frames)
    return {name: masks[name] for name in placed}


def _takes_rest(lora: Placed) -> bool:
    return lora.region is not None and lora.region.rest


def _rest(
    lora: Placed, others: Sequence[Tensor], clip: ClipSize, spec: ModelSpec, frames: Sequence[int] | None
) -> Tensor:
    """Return the mask of a LoRA that acts where others do not, or where they do if its region is inverted."""
    if not others:
        what = "no other LoRA of the stack has a region"
        raise StackError("region rest", what, expected="one or more", remedy="Say where the others act, or take it off")
    assert lora.region is not None
    taken = torch.stack(list(others)).sum(dim=0).clamp(0, 1)
    own = clip_mask(None, lora.over_time, clip, spec, frames=frames)
    return own * (taken if lora.region.inverted else 1 - taken)


@typed(StackError)
def clip_mask(
    region: Region | None,
    over_time: TimeCurve | None,
    clip: ClipSize,
    spec: ModelSpec,
    *,
    frames: Sequence[int] | None = None,
) -> Tensor:
    """Return how strongly a LoRA acts on each token of a clip, (F, H, W) float32.

    Args:
        region: where in the picture; everywhere if None.
        over_time: a factor over time; 1 if None.
        clip: the whole clip.
        spec: the model, whose strides and patches make tokens of pixels.
        frames: the latent frames that are wanted, counted from the clip's first: those of a context window; None for
            all.

    Raises:
        RequestError: the mask's file cannot be read.
        StackError: a mask video of another length, a time that leaves nothing of the clip, a frame that is not in it.
    """
    stride, rows, columns = spec.vae_stride
    depth, patch_rows, patch_columns = spec.patch_size
    factors = torch.tensor(_factors(over_time, clip))
    grid = -(-clip.height // (rows * patch_rows)), -(-clip.width // (columns * patch_columns))
    pictures = torch.ones(1, *grid)
    if region is not None:
        whole = region_pictures(region, clip.height, clip.width)
        if len(whole) > 1:
            over_frames(whole, clip.num_frames, region)
        pictures = F.adaptive_avg_pool2d(whole[:, None], grid)[:, 0]
    by_frame = factors[:, None, None] * pictures
    latents = torch.stack([by_frame[span].mean(dim=0) for span in _spans(clip.num_frames, stride)])
    if frames is not None:
        latents = latents[_checked_frames(frames, len(latents))]
    return latents if depth == 1 else torch.stack([part.mean(dim=0) for part in latents.split(depth)])


def mask_notes(masks: Mapping[str, Tensor], loras: Iterable[Placed], clip: ClipSize) -> tuple[Said, ...]:
    """Return a line for each LoRA whose mask or time is perhaps not what was meant."""
    notes = []
    for lora in {lora.name: lora for lora in loras}.values():
        if lora.name in masks and not masks[lora.name].any():
            notes.append(said("warning: {name}: its mask is black everywhere, so it does nothing", name=lora.name))
        late = [] if lora.over_time is None else [t for t, _ in lora.over_time.seconds(clip.fps) if t > clip.seconds]
        if late:
            notes.append(
                said(
                    "note: {name}: its time goes on to {late} s, and the clip ends at {end} s",
                    name=lora.name,
                    late=f"{late[-1]:.3g}",
                    end=f"{clip.seconds:.3g}",
                )
            )
    return tuple(notes)


def _factors(over_time: TimeCurve | None, clip: ClipSize) -> list[float]:
    """Return the factor of each frame of a clip; a time that leaves none of them is refused."""
    if over_time is None:
        return [1.0] * clip.num_frames
    factors = [over_time.at_frame(frame, clip.fps) for frame in range(clip.num_frames)]
    if not any(factors):
        seconds = f"{clip.seconds:.3g}"
        what = said("{time} leaves it nothing of the clip", time=str(over_time))
        expected = said("a time within its {frames} frames, {seconds} s", frames=clip.num_frames, seconds=seconds)
        raise StackError("time", what, expected=expected, remedy="Choose another time, or turn the LoRA off")
    return factors


def _spans(num_frames: int, stride: int) -> list[slice]:
    """Return the frames of pixels that each latent frame is made of."""
    return [slice(0, 1), *(slice(start, start + stride) for start in range(1, num_frames, stride))]


def _checked_frames(frames: Sequence[int], num_latents: int) -> list[int]:
    if strays := [frame for frame in frames if not 0 <= frame < num_latents]:
        what = said("latent frame {frame} is not in the clip", frame=strays[0])
        expected = said("0 to {last}", last=num_latents - 1)
        raise StackError("masks", what, expected=expected, remedy="Make the masks for the whole clip")
    return list(frames)
