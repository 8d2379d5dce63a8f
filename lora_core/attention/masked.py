"""Radial attention through one mask over all pairs: for small sizes, and to test the others against.

Letters: B batch, H heads, P tokens with padding, D width of a head.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import RequestError
from ..wording import said
from .block_map import BlockMap

#: Of a sequence: its mask is 256 MiB. Nobody who asks for sparse attention wants one of gigabytes.
MAX_TOKENS = 16_384


def attend_masked(q: Tensor, k: Tensor, v: Tensor, block_map: BlockMap, keys: Tensor | None) -> Tensor:
    """Return (B, H, P, D); see `executors.Executor`. It does all the work of dense attention, and more.

    Raises:
        RequestError: the sequence is too long for a mask.
    """
    if q.shape[2] > MAX_TOKENS:
        raise RequestError(
            "masked",
            said(
                "{tokens:,} tokens would need a mask of {size:.1f} GiB",
                tokens=q.shape[2],
                size=q.shape[2] ** 2 / 2**30,
            ),
            expected=said("at most {most:,}", most=MAX_TOKENS),
            remedy="Take the executor 'flex' on CUDA, or 'gathered'",
        )
    mask = _mask(block_map, q.device)
    if keys is not None:
        mask = mask & keys[:, None, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@lru_cache(maxsize=2)
def _mask(block_map: BlockMap, device: torch.device) -> Tensor:
    """Return (P, P) bool, queries by keys."""
    size = block_map.geometry.block_size
    return block_map.blocks.to(device).repeat_interleave(size, 0).repeat_interleave(size, 1)
