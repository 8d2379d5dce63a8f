"""The host's attention override of radial attention: which of a network's attentions it computes, and of which tokens.

The host hands every attention of a network to an override, and says with it which block asks. Self-attention at radial
steps is computed here; all else goes to the override that was there before, or to the host. In which order a network
has its tokens, and what its types of blocks are called, its family tells (`NativeAttention`).

Letters: B batch, H heads, N tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..lora_core import ModelError
from ..lora_core.attention.controller import RadialController
from ..lora_core.families.self_attention import Attend, NativeAttention
from ..lora_core.wording import said

WHERE = "RadialAttention"
#: Of the call in the options that the host hands on to every attention.
KEY = "wanloom.radial"
#: What is added to the scores of a pair at most, where it is to be unseen in half precision too.
_HIDDEN = -1e4


@dataclass
class RadialCall:
    """One call of a network.

    Attributes:
        native: where self-attention is in the network.
        num_context: the tokens of its texts.
        num_asked: how many self-attentions it has done so far.
    """

    controller: RadialController
    native: NativeAttention
    num_context: int
    num_asked: int = field(default=0, init=False)
    _block: int | None = field(default=None, init=False)
    _mask: Tensor | None = field(default=None, init=False)
    _num_valid: Tensor | None = field(default=None, init=False)

    def chosen(self, q: Tensor, k: Tensor, options: Mapping[str, Any], axis: int) -> Attend | None:
        """Return what computes the attention of queries and keys, their tokens along `axis`; None for another."""
        block = self._number_of(options)
        if block is None or not self._is_self_attention(q, k, block, axis):
            return None
        return self.controller.choose(block)

    def attend(self, attend: Attend, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention (B, H, N, D) of tokens in the network's order, computed in ours: text behind the video."""
        order, sizes = self.native.tokens, self._sizes
        if order == ("video",):
            return attend(q, k, v, 0, self._num_text_valid(mask))
        joined = [torch.cat(_in_order(x, order, ("video", "text"), sizes), dim=2) for x in (q, k, v)]
        out = attend(*joined, sizes["text"], self._num_text_valid(mask))
        return torch.cat(_in_order(out, ("video", "text"), order, sizes), dim=2)

    @property
    def _sizes(self) -> dict[str, int]:
        """How many tokens there are of each kind that the sequence has."""
        num_video = self.controller.block_map.geometry.num_tokens
        return {name: num_video if name == "video" else self.num_context for name in self.native.tokens}

    def _number_of(self, options: Mapping[str, Any]) -> int | None:
        """Return the number of the block that asks, None for attention outside of the blocks."""
        stem = self.native.blocks.get(options.get("block_type", ""))
        if stem is None or "block_index" not in options:
            return None
        block = self.controller.spec.block_of(f"{stem}{options['block_index']}.attention")
        assert block is not None, "the family's own stems"
        return block[0]

    def _is_self_attention(self, q: Tensor, k: Tensor, block: int, axis: int) -> bool:
        """Say whether queries and keys are those of a block's self-attention, which comes before all others in it."""
        is_first, self._block = block != self._block, block
        num_tokens = sum(self._sizes.values())
        if q.shape[axis] == k.shape[axis] == num_tokens and (is_first or num_tokens != self.num_context):
            self.num_asked += 1
            return True
        if is_first:
            raise self._other_tokens(q.shape[axis], k.shape[axis])
        return False

    def _other_tokens(self, num_queries: int, num_keys: int) -> ModelError:
        geometry, sizes = self.controller.block_map.geometry, self._sizes
        counts = {"frames": geometry.num_frames, "tokens": geometry.tokens_per_frame, "count": sum(sizes.values())}
        what = said(
            "self-attention over {queries} by {keys} tokens, of which {frames} latent frames of {tokens} make only "
            "{count}",
            **{"queries": num_queries, "keys": num_keys, **counts},
        )
        if "text" in sizes:
            what = said(
                "self-attention over {queries} by {keys} tokens, of which {frames} latent frames of {tokens} and a "
                "text of {text} make only {count}",
                **{"queries": num_queries, "keys": num_keys, "text": sizes["text"], **counts},
            )
        return ModelError(
            WHERE,
            what,
            expected="a clip alone, without pictures that ride along as tokens",
            remedy="Sample this model without RadialAttention",
        )

    def _num_text_valid(self, mask: Tensor | None) -> Tensor | None:
        """Return (1 or B,) how many tokens a mask leaves of the text; None where it leaves all, or there is none.

        The host masks a text that is padded at its end, the same way in every block of a call.
        """
        if mask is not self._mask:
            self._num_valid = None if mask is None else self._read(mask)
            self._mask = mask
        return self._num_valid

    def _read(self, mask: Tensor) -> Tensor | None:
        sizes = self._sizes
        seen = _seen_keys(mask, sum(sizes.values()))
        if seen is not None and "text" in sizes:
            parts = dict(zip(sizes, seen.split(list(sizes.values()), dim=1), strict=True))
            own = parts["text"]
            if bool(parts["video"].all()) and not bool((own[:, 1:] & ~own[:, :-1]).any()):
                return None if bool(own.all()) else own.sum(dim=1)
        raise _masked()


def _seen_keys(mask: Tensor, num_tokens: int) -> Tensor | None:
    """Return (1 or B, N) the keys that a mask shows to every query alike; None where it does anything else.

    Masks are (1 or B, 1, N) or (1 or B, 1, 1, N), bool, or added to the scores.
    """
    if mask.ndim < 3 or mask.shape[-1] != num_tokens or mask[0].numel() != num_tokens:
        return None
    rows = mask.reshape(-1, num_tokens)
    if not rows.is_floating_point():
        return rows.bool()
    seen = rows == 0
    return seen if bool((seen | (rows <= _HIDDEN)).all()) else None


def _in_order(x: Tensor, order: tuple[str, ...], wanted: tuple[str, ...], sizes: Mapping[str, int]) -> list[Tensor]:
    """Return the parts of x (B, H, N, D), which lie in one order, in another."""
    parts = dict(zip(order, x.split([sizes[name] for name in order], dim=2), strict=True))
    return [parts[name] for name in wanted]


def radial_override(other: Callable[..., Tensor] | None) -> Callable[..., Tensor]:
    """Return the override; `other`, where there is one, does what it leaves."""

    def attend(
        func: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any
    ) -> Tensor:
        options = kwargs.get("transformer_options") or {}
        call, in_heads = options.get(KEY), kwargs.get("skip_reshape", False)
        radial = None if call is None else call.chosen(q, k, options, 2 if in_heads else 1)
        if radial is None:
            return (
                func(q, k, v, heads, *args, **kwargs) if other is None else other(func, q, k, v, heads, *args, **kwargs)
            )
        if args:
            raise _masked()
        if not in_heads:
            q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        out = call.attend(radial, q, k, v, kwargs.get("mask"))
        return out if kwargs.get("skip_output_reshape", False) else out.transpose(1, 2).flatten(2)

    # A compiled network calls it and does not look into it: what is dense differs from step to step.
    override = torch.compiler.disable(attend)
    override.wanloom_radial = True  # type: ignore[attr-defined]
    return override


def _masked() -> ModelError:
    return ModelError(WHERE, "another node masks the self-attention", remedy="Sample without one of the two")
