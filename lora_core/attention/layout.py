"""The order of tokens in blocks: each frame, and the text, filled up with padding to whole blocks.

Letters: B batch, H heads, N tokens, P tokens with padding, D width of a head.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import RequestError
from .geometry import RadialGeometry


def to_blocks(x: Tensor, geometry: RadialGeometry) -> Tensor:
    """Return (B, H, P, D) of (B, H, N, D), padding zero; x itself where nothing is missing."""
    if not geometry.is_padded:
        return x
    video, text = x.split([geometry.num_frames * geometry.tokens_per_frame, geometry.num_text_tokens], dim=2)
    frames = video.unflatten(2, (geometry.num_frames, -1))
    frames = F.pad(frames, (0, 0, 0, geometry.blocks_per_frame * geometry.block_size - geometry.tokens_per_frame))
    text = F.pad(text, (0, 0, 0, -geometry.num_text_tokens % geometry.block_size))
    return torch.cat([frames.flatten(2, 3), text], dim=2)


def from_blocks(x: Tensor, geometry: RadialGeometry) -> Tensor:
    """Return (B, H, N, D) of (B, H, P, D): `to_blocks` undone."""
    if not geometry.is_padded:
        return x
    num_video = geometry.num_video_blocks * geometry.block_size
    frames = x[:, :, :num_video].unflatten(2, (geometry.num_frames, -1))[:, :, :, : geometry.tokens_per_frame]
    return torch.cat([frames.flatten(2, 3), x[:, :, num_video : num_video + geometry.num_text_tokens]], dim=2)


@lru_cache(maxsize=8)
def real_tokens(geometry: RadialGeometry, device: torch.device) -> Tensor:
    """Return (1, P) bool: False for padding. It is shared, so never written to."""
    ones = torch.ones(1, 1, geometry.num_tokens, 1, device=device)
    return to_blocks(ones, geometry)[0, :, :, 0] > 0


def seen_keys(geometry: RadialGeometry, device: torch.device, num_text_valid: Tensor | None) -> Tensor | None:
    """Return (1 or B, P) bool, False for keys that nobody sees; None where all are seen.

    `num_text_valid` (B,) is how many of each item's text tokens say anything; the others are padding of a prompt.

    Raises:
        RequestError: there is no such text.
    """
    if num_text_valid is None:
        return real_tokens(geometry, device) if geometry.is_padded else None
    _check_text(num_text_valid, geometry)
    first = geometry.num_video_blocks * geometry.block_size
    text = torch.arange(geometry.num_padded, device=device) - first
    return real_tokens(geometry, device) & (text < num_text_valid.to(device)[:, None])


def _check_text(num_text_valid: Tensor, geometry: RadialGeometry) -> None:
    if num_text_valid.ndim != 1 or num_text_valid.is_floating_point():
        what = f"{tuple(num_text_valid.shape)} of {num_text_valid.dtype}"
        expected, remedy = "one whole number for each item of the batch", "Give a tensor (B,) of whole numbers"
        raise RequestError("num_text_valid", what, expected=expected, remedy=remedy)
    if num_text_valid.device.type == "cpu" and not 0 <= int(num_text_valid.min()) <= int(num_text_valid.max()) <= (
        geometry.num_text_tokens
    ):
        expected = f"0 to {geometry.num_text_tokens}, the tokens of the text"
        what, remedy = f"{num_text_valid.tolist()} is out of range", "Choose numbers in that range"
        raise RequestError("num_text_valid", what, expected=expected, remedy=remedy)
