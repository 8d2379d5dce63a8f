"""The executors of radial attention: several ways to compute the same, with one signature, and which is for what.

Letters: B batch, H heads, N tokens, P tokens with padding, D width of a head. Dtype policy: that of the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..checks import known, shape_text
from ..errors import RequestError
from ..wording import said
from .block_map import BlockMap
from .flex import attend_flex
from .gathered import attend_gathered
from .layout import from_blocks, seen_keys, to_blocks
from .masked import attend_masked

#: (q, k, v each (B, H, P, D), the map, keys (1 or B, P) bool that are seen or None for all) -> (B, H, P, D). What comes
#: out at padding means nothing. Either what the map leaves out is not computed, or it is an error.
Executor: TypeAlias = Callable[[Tensor, Tensor, Tensor, BlockMap, "Tensor | None"], Tensor]
ExecutorName = Literal["auto", "flex", "gathered", "masked"]

#: Executor -> the kinds of device it is no use on: torch compiles no flex_attention for MPS, and a mask over all pairs
#: costs more there than what it leaves out.
_NOT_ON: Mapping[str, tuple[str, ...]] = {"flex": ("mps",), "masked": ("mps",)}
EXECUTORS: Mapping[str, Executor] = {"flex": attend_flex, "gathered": attend_gathered, "masked": attend_masked}


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_map: BlockMap,
    *,
    executor: ExecutorName = "auto",
    num_text_valid: Tensor | None = None,
) -> Tensor:
    """Return radial attention (B, H, N, D); items of a batch never mix.

    Args:
        q: queries (B, H, N, D), with whatever tells their places already in them.
        k: keys, likewise.
        v: values (B, H, N, D).
        block_map: which blocks see each other; its geometry is that of the tokens.
        executor: a key of `EXECUTORS`; "auto" takes the one for the device.
        num_text_valid: (B,) how many text tokens of each item say anything; None for all.

    Raises:
        RequestError: the tokens are not those of the map, or the executor cannot run here.
    """
    geometry = block_map.geometry
    for name, x in (("queries", q), ("keys", k), ("values", v)):
        if x.ndim != 4 or x.shape != q.shape or x.shape[2] != geometry.num_tokens:
            expected = f"(batch, heads, {geometry.num_tokens}, width), for {geometry.num_frames} latent frames"
            what, remedy = f"{name} of shape {shape_text(x.shape)}", "Make the map for these tokens"
            raise RequestError("radial attention", what, expected=expected, remedy=remedy)
    run = EXECUTORS[choose_executor(executor, q.device)]
    keys = seen_keys(geometry, q.device, num_text_valid)
    q, k, v = (to_blocks(x, geometry) for x in (q, k, v))
    return from_blocks(run(q, k, v, block_map, keys), geometry)


def choose_executor(executor: str, device: torch.device) -> str:
    """Return a key of `EXECUTORS`: the one asked for, or with "auto" flex on CUDA and gathered elsewhere.

    Raises:
        RequestError: there is no such executor, or it does not run on this device.
    """
    if executor == "auto":
        return "flex" if device.type == "cuda" else "gathered"
    chosen = known(executor, EXECUTORS, "executor", RequestError)
    if device.type in _NOT_ON.get(chosen, ()):
        raise RequestError(
            chosen,
            said("it does not run on {device}", device=device.type),
            expected="the executor 'gathered' there",
            remedy="Take the executor 'gathered', or leave it at 'auto'",
        )
    return chosen
