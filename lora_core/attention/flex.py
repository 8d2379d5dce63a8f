"""Radial attention through torch's compiled `flex_attention`, which skips the blocks that the map leaves out.

Without its compiler `flex_attention` is dense: given a map alone it ignores it, given a rule for pairs it makes all
scores and then drops most. So nothing here runs uncompiled.

Letters: B batch, H heads, P tokens with padding, D width of a head; K blocks of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..checks import first_line
from ..errors import LoraCoreError, RequestError
from ..wording import said
from .block_map import BlockMap
from .geometry import RadialGeometry

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

#: Of a head: what the kernels' matrix products take at least.
MIN_HEAD_WIDTH = 16
#: One compilation for each geometry, batch and dtype; dynamo stops at 8 and would go on uncompiled.
_MAX_COMPILATIONS = 256
_REMEDY = "Take the executor 'gathered', which needs no compiler"


def attend_flex(q: Tensor, k: Tensor, v: Tensor, block_map: BlockMap, keys: Tensor | None) -> Tensor:
    """Return (B, H, P, D); see `executors.Executor`. The first call for a geometry takes seconds to compile.

    Raises:
        RequestError: the heads are too narrow, a gradient is wanted on a CPU, or nothing could be compiled.
    """
    check_head_width(q.shape[-1])
    if q.device.type == "cpu" and torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        what = "torch has no backward pass of flex_attention on a CPU"
        raise RequestError("flex", what, remedy="Take the executor 'gathered'")
    mask = _block_mask(block_map, q.device)
    if keys is not None:
        mask = copy(mask)
        mask.mask_mod = _sees(block_map, q.device, keys)
    try:
        with torch._dynamo.config.patch(
            recompile_limit=_MAX_COMPILATIONS, accumulated_recompile_limit=4 * _MAX_COMPILATIONS
        ):
            return _compiled()(q, k, v, mask)
    except LoraCoreError:
        raise
    except Exception as error:  # whatever a compiler stumbles over; an interrupt is none of these
        what = said("torch.compile failed: {error}", error=first_line(error))
        raise RequestError("flex", what, remedy=_REMEDY) from error


def check_head_width(width: int) -> None:
    """Raise unless heads are as wide as the kernels need."""
    if width < MIN_HEAD_WIDTH:
        raise RequestError(
            "flex",
            said("heads of width {width}", width=width),
            expected=said("at least {least}, what its kernels take", least=MIN_HEAD_WIDTH),
            remedy=_REMEDY,
        )


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor, BlockMask], Tensor]:
    return torch.compile(_attend, fullgraph=True, dynamic=False)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask) -> Tensor:
    if not torch.compiler.is_compiling():
        what = "torch.compile is switched off, and without it flex_attention is dense"
        raise RequestError("flex", what, expected="TORCH_COMPILE_DISABLE unset", remedy=_REMEDY)
    from torch.nn.attention.flex_attention import flex_attention  # every start of a host would wait for it

    return flex_attention(q, k, v, block_mask=mask)


@lru_cache(maxsize=8)
def _block_mask(block_map: BlockMap, device: torch.device) -> BlockMask:
    """Return the map as torch wants it; the blocks of keys that hold padding are told apart from whole ones."""
    from torch.nn.attention.flex_attention import BlockMask

    geometry, blocks = block_map.geometry, block_map.blocks.to(device)
    partial = _has_padding(geometry).to(device)
    return BlockMask.from_kv_blocks(
        *_listed(blocks & partial),
        *_listed(blocks & ~partial),
        BLOCK_SIZE=geometry.block_size,
        mask_mod=_sees(block_map, device, torch.ones(1, geometry.num_padded, dtype=torch.bool, device=device)),
    )


def _has_padding(geometry: RadialGeometry) -> Tensor:
    """Return (K,) bool: the last block of each frame where it is not full, and all of the text."""
    partial = torch.zeros(geometry.num_blocks, dtype=torch.bool)
    if geometry.tokens_per_frame % geometry.block_size:
        partial[geometry.blocks_per_frame - 1 : geometry.num_video_blocks : geometry.blocks_per_frame] = True
    partial[geometry.num_video_blocks :] = True
    return partial


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of keys each of queries sees (1, 1, K), and which, those first (1, 1, K, K)."""
    order = blocks.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], order.to(torch.int32)[None, None]


def _sees(
    block_map: BlockMap, device: torch.device, keys: Tensor
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return the rule for pairs: the map looked up, and the keys (1 or B, P). It alone would give the right result."""
    blocks, size = block_map.blocks.to(device), block_map.geometry.block_size
    if len(keys) == 1:
        one = keys[0]
        return lambda item, head, query, key: blocks[query // size, key // size] & one[key]
    return lambda item, head, query, key: blocks[query // size, key // size] & keys[item, key]
