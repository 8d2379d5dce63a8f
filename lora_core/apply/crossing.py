"""Cross-attention under masked LoRAs: tokens of the text have no place in the clip, those who read them have.

What a LoRA changes in keys and values it changes for every token of the video. So the attention is computed once for
each set of LoRAs that share a token, and every token takes the result of the set that is its own, in part where an edge
is soft. Queries are the same for all sets and computed once; so is the output, of what each token took.

The module's own code runs for each set. Its parts are told what to do meanwhile: queries come from memory behind the
first run, what has been attended to is collected where the output is made, and goes through it in the last run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

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
        self._queries: dict[int, Any] = {}

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
            self._queries.clear()

    def remembered(self, part: PatchedModule, args: Any, kwargs: Any) -> Any:
        """Return what a module of the queries gives, computed in the first run alone."""
        if id(part) not in self._queries:
            self._queries[id(part)] = part.original(*args, **kwargs)
        return self._queries[id(part)]

    def collected(self, part: PatchedModule, x: Tensor) -> Tensor:
        """Take what each token is due of x (B, L, D), and return the output of all that it took in the last run."""
        assert self._set is not None
        assert self._set.weight is not None
        weight = self._set.weight.to(x.dtype).view(1, -1, 1)
        self._taken = x * weight if self._taken is None else self._taken.addcmul_(x, weight)
        return part.original(self._taken) if self._is_last else x


class Query(PatchedModule):
    """A module of a cross-attention's queries."""

    def __init__(self, module: nn.Module, crossing: Crossing) -> None:
        super().__init__(module, {}, crossing.strengths)
        self._crossing = crossing

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute once for all sets."""
        if not self._crossing.is_running:
            return self.original(*args, **kwargs)
        return self._crossing.remembered(self, args, kwargs)


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
