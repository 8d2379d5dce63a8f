"""Cross-attention under masked LoRAs: tokens of the text have no place in the clip, those who read them have.

What a LoRA changes in keys and values it changes for every token of the video. So the attention is computed once for
each set of LoRAs that share a token, and every token takes the result of the set that is its own, in part where an edge
is soft. Queries are the same for all sets and computed once; so is the output, of what each token took.

The module's own code runs for each set. Its parts are told what to do meanwhile: queries come from memory behind the
first run, those of the tokens alone that take something of the set; keys and values are the remembered ones of the base
with the set's thin branch; what has been attended to is collected where the output is made, and goes through it in the
last run. So a set costs about what its tokens' share of the attention costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base_weights import Layer
from .fused import FusedDelta
from .masks import LoraSet, Masks
from .patched import PatchedModule
from .strengths import Weighed


class Crossing(PatchedModule):
    """A cross-attention, run once for each set of masked LoRAs.

    Attributes:
        text: the strengths that its modules of the text have to be patched with: those of the set that is running.
        is_running: whether several sets share its tokens, and one of them runs.
    """

    def __init__(self, module: nn.Module, indices: Sequence[int], masks: Masks) -> None:
        super().__init__(module, {}, masks.strengths)
        self.text = Weighed(masks.strengths, [1.0] * len(masks.strengths.values))
        self.is_running = False
        self._indices, self._masks = tuple(indices), masks
        self._set: LoraSet | None = None
        self._is_last = False
        self._taken: Tensor | None = None
        self._memory: dict[int, Any] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the module's forward does, each token of the video with the text that its masks say."""
        x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        active = [i for i in self._indices if self._masks.acts(i)]
        if self._installed is None or self.strengths.rows == "none":
            return self.original(*args, **kwargs)
        sets = self._masks.sets(active, x.device)
        self.is_running = len(sets) > 1
        try:
            for one in sets:
                self._set, self._is_last = one, one is sets[-1]
                others = set(self._indices) - one.members
                self.text.weigh([float(i not in others) for i in range(len(self.text.values))])
                result = self.original(*args, **kwargs)
            return result
        finally:
            self.is_running, self._taken, self._set = False, None, None
            self._memory.clear()

    def remembered(self, part: PatchedModule, args: Any, kwargs: Any) -> Any:
        """Return what a part gives whatever set runs, computed in the first run alone."""
        if id(part) not in self._memory:
            self._memory[id(part)] = part.original(*args, **kwargs)
        return self._memory[id(part)]

    def chosen(self, queries: Tensor) -> Tensor:
        """Return the queries (B, L, ...) or (B, heads, L, ...) of the tokens that take something of the set."""
        assert self._set is not None
        if self._set.tokens is None:
            return queries
        return queries.index_select(2 if queries.shape[1] != self._set.num_tokens else 1, self._set.tokens)

    def collected(self, part: PatchedModule, x: Tensor) -> Tensor:
        """Give each token its share of x (B, tokens of the set, D); return in the last run the output of all it got."""
        one = self._set
        assert one is not None
        assert one.weight is not None
        if self._taken is None:
            self._taken = x.new_zeros(x.shape[0], one.num_tokens, x.shape[2])
        if one.tokens is None:
            self._taken.addcmul_(x, one.weight.to(x.dtype).view(1, -1, 1))
        else:
            share = one.weight[one.tokens].to(x.dtype).view(1, -1, 1)
            self._taken.index_add_(1, one.tokens, x * share)
        return part.original(self._taken) if self._is_last else x


class Query(PatchedModule):
    """A module of a cross-attention's queries.

    Args:
        is_last: what it gives is compared with the keys.
    """

    def __init__(self, module: nn.Module, crossing: Crossing, *, is_last: bool) -> None:
        super().__init__(module, {}, crossing.strengths)
        self._crossing, self._is_last = crossing, is_last

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute once for all sets."""
        if not self._crossing.is_running:
            return self.original(*args, **kwargs)
        queries = self._crossing.remembered(self, args, kwargs)
        return self._crossing.chosen(queries) if self._is_last else queries


class OfText(PatchedModule):
    """A layer of keys or values, which masked LoRAs change by a thin branch: what is below it is computed once."""

    def __init__(self, layer: Layer, delta: FusedDelta, crossing: Crossing) -> None:
        assert delta.is_thin
        assert not delta.needs_base
        super().__init__(layer, {"weight": delta}, crossing.text)
        self._crossing = crossing

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute what the layer computes, with the branch of the set that runs."""
        delta, crossing = self.deltas.get("weight"), self._crossing
        y = crossing.remembered(self, args, kwargs) if crossing.is_running else self.original(*args, **kwargs)
        if delta is None or not delta.acts(self.strengths):
            return y
        (x,) = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        y = y.clone(memory_format=torch.contiguous_format) if crossing.is_running else y.contiguous()
        rows = slice(len(x) // 2, None) if self.strengths.rows == "second_half" else slice(None)
        delta.add_branch(x[rows], y[rows], self.strengths)
        return y


class Output(PatchedModule):
    """The module of a cross-attention that makes its output."""

    def __init__(self, module: nn.Module, crossing: Crossing) -> None:
        super().__init__(module, {}, crossing.strengths)
        self._crossing = crossing

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Collect in the runs of all sets, and compute in the last."""
        if not self._crossing.is_running:
            return self.original(*args, **kwargs)
        (x,) = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        return self._crossing.collected(self, x)
