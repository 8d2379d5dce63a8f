"""Radial attention in plain torch: each block of queries meets the keys it sees, gathered; differentiable anywhere.

Letters: B batch, H heads, P tokens with padding, D width of a head; K blocks of a sequence, S tokens of one; G blocks
of queries at once, M blocks of keys that each of them sees.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .block_map import BlockMap

#: Keys gathered at once, in copies of all keys: more at a time is hardly faster, and takes memory.
_MAX_COPIES = 2


def attend_gathered(q: Tensor, k: Tensor, v: Tensor, block_map: BlockMap, keys: Tensor | None) -> Tensor:
    """Return (B, H, P, D); see `executors.Executor`.

    Blocks of queries that see equally many blocks of keys go through one dense attention, so many at once that the
    gathered keys take twice the memory of the keys themselves. A backward pass gathers them again.
    """
    size = block_map.geometry.block_size
    q_BHKSD, k_BHKSD, v_BHKSD = (x.unflatten(2, (-1, size)) for x in (q, k, v))
    keys_BKS = None if keys is None else keys.unflatten(1, (-1, size))
    needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    chunks, place = _chunks(block_map, q.device)
    parts = []
    for rows, columns in chunks:
        inputs = (q_BHKSD, k_BHKSD, v_BHKSD, keys_BKS, rows, columns)
        parts.append(checkpoint(_attend, *inputs, use_reentrant=False) if needs_grad else _attend(*inputs))
    return torch.cat(parts, dim=2)[:, :, place].flatten(2, 3)


def _attend(q: Tensor, k: Tensor, v: Tensor, keys: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """Return (B, H, G, S, D) for the blocks of queries `rows` (G,), which see those of keys `columns` (G, M)."""
    num_heads = q.shape[1]
    q = q[:, :, rows].flatten(1, 2)  # (B, H G, S, D): the fast kernels take four axes
    k, v = (x[:, :, columns].flatten(3, 4).flatten(1, 2) for x in (k, v))  # (B, H G, M S, D)
    mask = None
    if keys is not None:
        seen = keys[:, columns].flatten(2)[:, None]  # (1 or B, 1, G, M S)
        mask = seen.expand(-1, num_heads, -1, -1).flatten(1, 2)[:, :, None]  # (1 or B, H G, 1, M S)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).unflatten(1, (num_heads, -1))


@lru_cache(maxsize=8)
def _chunks(block_map: BlockMap, device: torch.device) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Return (rows (G,), columns (G, M)) of each chunk, and the place (K,) of each block in their concatenation."""
    blocks = block_map.blocks
    counts = blocks.sum(1)
    chunks: list[tuple[Tensor, Tensor]] = []
    for count in counts.unique().tolist():
        rows = (counts == count).nonzero()[:, 0]
        columns = blocks[rows].nonzero()[:, 1].view(len(rows), count)
        num_at_once = max(1, _MAX_COPIES * len(blocks) // count)
        chunks += zip(rows.split(num_at_once), columns.split(num_at_once), strict=True)
    place = torch.cat([rows for rows, _ in chunks]).argsort()
    return [(rows.to(device), columns.to(device)) for rows, columns in chunks], place.to(device)
