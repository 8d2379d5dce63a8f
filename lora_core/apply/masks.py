"""The masks of a stack at work: how strongly each of its LoRAs acts on each token of the video.

Letters: N LoRAs of the stack, F H W latent frames, rows and columns of tokens, L = F H W tokens in that order, T tokens
of the text behind them. Dtype policy: masks in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import shape_text
from ..errors import ModelError, StackError
from ..families.region_rules import Met
from ..wording import said
from .strengths import Strengths, Weighed

#: Beyond so many sets of LoRAs that share tokens, each LoRA's change is counted by itself.
_MAX_SETS = 8
#: Where more than this share of all tokens take something of a set, to pick them costs more than it saves.
_MOST_TOKENS = 0.9


def everywhere(mask: Tensor) -> float | None:
    """Return the number that a mask is in every place, if it is 0 or 1; else None."""
    return next((number for number in (0.0, 1.0) if bool((mask == number).all())), None)


@dataclass(frozen=True, eq=False)
class LoraSet:
    """Some masked LoRAs that act together on the text, and how much of what comes of it each token takes.

    Attributes:
        members: their indices in the stack.
        weight: (L,), or None where every token takes all of it.
        tokens: the indices of those that take something, where many do not; None for all.
    """

    members: frozenset[int]
    weight: Tensor | None
    tokens: Tensor | None = None

    @classmethod
    def of(cls, members: frozenset[int], weight: Tensor) -> LoraSet:
        """Return a set by what each token takes of it."""
        tokens = weight.nonzero().flatten()
        return cls(members, weight, tokens if len(tokens) < _MOST_TOKENS * len(weight) else None)

    @property
    def num_tokens(self) -> int:
        """L, of a set that not every token takes all of."""
        assert self.weight is not None
        return len(self.weight)


class Masks:
    """One mask (F, H, W) for each LoRA of a stack that has one; replaced at once where another part of a clip comes.

    Args:
        strengths: those of the stack.
        names: its LoRAs, in its order.
        masks: name -> its mask; a LoRA that is not there acts everywhere.

    Attributes:
        mean_strengths: the strengths, each times the mean of its mask, for what has no place in the clip.
    """

    def __init__(self, strengths: Strengths, names: Sequence[str], masks: Mapping[str, Tensor]) -> None:
        self.strengths = strengths
        self.mean_strengths = Weighed(strengths, [1.0] * len(names))
        self._names = tuple(names)
        self._masked = frozenset(masks)
        self.set(masks)

    def set(self, masks: Mapping[str, Tensor]) -> None:
        """Replace all masks, each (F, H, W), all of one size, of the LoRAs that had one from the beginning."""
        shapes = {tuple(mask.shape) for mask in masks.values()}
        if set(masks) != self._masked or not self._masked <= set(self._names):
            what = said("they are of {names}", names=", ".join(masks) or "-")
            names = ", ".join(sorted(self._masked)) if self._masked <= set(self._names) else ", ".join(self._names)
            raise StackError("masks", what, expected=names, remedy="Give each masked LoRA of the stack its mask")
        if len(shapes) != 1 or any(len(shape) != 3 or 0 in shape for shape in shapes):
            what = said("their sizes are {sizes}", sizes=", ".join(map(shape_text, sorted(shapes))))
            raise StackError("masks", what, expected="(F, H, W), one size for all", remedy="Correct them")
        self.grid: tuple[int, ...] = next(iter(shapes))
        given = [masks.get(name) for name in self._names]
        self._rows = [None if mask is None else mask.detach().float().cpu().flatten() for mask in given]
        self._means = tuple(1.0 if row is None else float(row.double().mean()) for row in self._rows)
        self.mean_strengths.weigh(self._means)
        self._everywhere = tuple(1.0 if row is None else everywhere(row) for row in self._rows)
        self._on: dict[tuple[torch.device, int], Tensor] = {}
        self._sets: dict[tuple[tuple[int, ...], torch.device], tuple[LoraSet, ...]] = {}

    def has(self, index: int) -> bool:
        """Say whether a LoRA of the stack has a mask."""
        return self._rows[index] is not None

    def acts(self, index: int) -> bool:
        """Say whether a LoRA has a strength, and a mask that is not 0 everywhere."""
        return self.strengths.active[index] and self._everywhere[index] != 0

    def on_tokens(self, device: torch.device, num_tokens: int, met: Met) -> Tensor:
        """Return (L, N), or (L + T, N) where the text's tokens follow, who take the mean of each mask.

        Raises ModelError where a module meets another number of tokens than the masks are of.
        """
        num_video = math.prod(self.grid)
        if num_tokens != num_video and (met != "joint" or num_tokens < num_video):
            raise ModelError(
                "masks",
                said("a module of the network meets {num_tokens} tokens", num_tokens=num_tokens),
                expected=said("{count}, for masks of {size}", count=num_video, size=shape_text(self.grid)),
                remedy="Make the masks for the latents that are sampled",
            )
        key = (device, num_tokens)
        if key not in self._on:
            with torch.inference_mode(False):
                rows = [torch.ones(num_video) if row is None else row for row in self._rows]
                text = torch.tensor(self._means).expand(num_tokens - num_video, -1)
                self._on[key] = torch.cat([torch.stack(rows, dim=1), text]).to(device)
        return self._on[key]

    def along(self, y: Tensor, index: int, met: Met) -> Tensor:
        """Return the mask of one LoRA in the shape that multiplies y: (B, L, ...), (B, F, H, W, D) or (B, D, F, H, W).

        Heads may stand before the tokens: (B, heads, L, width).
        """
        shape = tuple(y.shape)
        if shape[1:4] == self.grid or shape[2:5] == self.grid:
            axes = slice(1, 4) if shape[1:4] == self.grid else slice(2, 5)
        else:
            axes = slice(2, 3) if len(shape) == 4 and shape[2] == math.prod(self.grid) != shape[1] else slice(1, 2)
        mask = self.on_tokens(y.device, math.prod(shape[axes]), met)[:, index]
        ones = [1] * len(shape)
        ones[axes] = shape[axes]
        return mask.view(ones)

    def sets(self, indices: Sequence[int], device: torch.device) -> tuple[LoraSet, ...]:
        """Return the sets of these LoRAs that share a token, with weights that are 1 in sum on every token.

        A set's weight is the product of its masks and of 1 minus those of the others; a set that no token takes is left
        out. Where there are too many of them: the sum of what each LoRA changes by itself.
        """
        key = (tuple(indices), device)
        if key not in self._sets:
            with torch.inference_mode(False):
                self._sets[key] = tuple(self._made_sets(indices, device))
        return self._sets[key]

    def _made_sets(self, indices: Sequence[int], device: torch.device) -> list[LoraSet]:
        always = frozenset(i for i in indices if self._everywhere[i] == 1)
        masked = {i: row for i in indices if (row := self._rows[i]) is not None and i not in always}
        if not masked:
            return [LoraSet(always, None)]
        found = {always: torch.ones_like(next(iter(masked.values())))}
        for i, mask in masked.items():
            if len(found) > _MAX_SETS:  # their number only grows
                break
            halves = {members | {i}: weight * mask for members, weight in found.items()}
            halves |= {members: weight * (1 - mask) for members, weight in found.items()}
            found = {members: weight for members, weight in halves.items() if weight.any()}
        if len(found) > _MAX_SETS:
            found = {always | {i}: mask for i, mask in masked.items()}
            found[always] = 1 - torch.stack(list(masked.values())).sum(0)
        return [LoraSet.of(members, weight.to(device)) for members, weight in found.items()]
