"""The pictures of a mask: how strongly a LoRA acts at each pixel of a clip's frames.

Letters: T frames, H W pixels. Masks are float32 from 0 to 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RequestError, StackError
from ..stack.region import Box, Region
from ..wording import said

#: What scaling leaves of an even surface.
_ROUNDING = 1e-5


def region_pictures(region: Region, height: int, width: int) -> Tensor:
    """Return a region as (T, H, W), T being 1 where it does not move; a mask of another size is stretched.

    Raises:
        RequestError: its file cannot be read.
        StackError: it is the rest of others, which are not known here.
    """
    if region.rest:
        what = "what is left by others has no mask of its own"
        raise StackError("region rest", what, remedy="Make the masks of all LoRAs together, with clip_masks")
    if region.box is not None:
        mask = _box_picture(region.box, height, width)[None]
    else:
        pixels = region.pixels if region.path is None else read_mask(region.path)
        assert pixels is not None, "a region has one of the three"
        mask = _stretched(torch.from_numpy(pixels.copy()), height, width)
    mask = _softened(mask, region.edge * min(height, width))
    mask = 1 - mask if region.inverted else mask
    for number in (0.0, 1.0):
        mask[(mask - number).abs() < _ROUNDING] = number
    return mask


def read_mask(path: Path) -> np.ndarray:
    """Read a picture, an animated one or a video as (T, H, W) from 0, black, to 1, white.

    Raises:
        RequestError: it is missing, damaged or holds no pictures.
    """
    from ..media.video import read_video  # a host's start waits for no codecs

    try:
        frames, _ = read_video(path)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for a damaged picture
        raise RequestError(path, said("is a damaged mask: {error}", error=error), remedy="Save it again") from error
    return frames.astype(np.float32).mean(axis=-1) / 255


def over_frames(pictures: Tensor, num_frames: int, region: Region) -> Tensor:
    """Return pictures (T, H, W) for every frame of a clip: the only one for all, else frame by frame.

    Raises:
        StackError: there are several, and not as many as the clip has frames.
    """
    if len(pictures) not in (1, num_frames):
        where = "region" if region.path is None else region.path
        what = said("the mask has {count} frames, the clip {frames}", count=len(pictures), frames=num_frames)
        expected = said("1, or {frames}: each is the mask of one frame", frames=num_frames)
        raise StackError(
            where, what, expected=expected, remedy="Cut the mask to the clip, or make a clip of its length"
        )
    return pictures.expand(num_frames, -1, -1)


def _box_picture(box: Box, height: int, width: int) -> Tensor:
    """Return (H, W): the share of each pixel that lies in the box."""
    left, top, right, bottom = box
    rows, columns = torch.arange(height), torch.arange(width)

    def covered(start: float, end: float, places: Tensor, size: int) -> Tensor:
        return (end * size - places).clamp(0, 1) - (start * size - places).clamp(0, 1)

    return covered(top, bottom, rows, height)[:, None] * covered(left, right, columns, width)


def _stretched(mask: Tensor, height: int, width: int) -> Tensor:
    if tuple(mask.shape[1:]) == (height, width):
        return mask
    return F.interpolate(mask[:, None], (height, width), mode="bilinear", antialias=True)[:, 0].clamp(0, 1)


def _softened(mask: Tensor, wide: float) -> Tensor:
    """Return the mean over a square around each pixel: an edge becomes a ramp of about `wide` pixels around it.

    Beyond the picture's border the mask goes on as it is there, so that what touches the border stays whole.
    """
    for axis in (1, 2):
        reach = min(round((wide - 1) / 2), mask.shape[axis] - 1)
        if reach > 0:
            ends = [mask.narrow(axis, 0, 1), mask.narrow(axis, mask.shape[axis] - 1, 1)]
            repeats = [reach + 1 if i == axis else 1 for i in range(3)], [reach if i == axis else 1 for i in range(3)]
            padded = torch.cat([ends[0].repeat(repeats[0]), mask, ends[1].repeat(repeats[1])], dim=axis)
            sums = padded.double().cumsum(axis)
            size, count = mask.shape[axis], 2 * reach + 1
            mask = ((sums.narrow(axis, count, size) - sums.narrow(axis, 0, size)) / count).float()
    return mask
