"""What self-attention is of a whole step: its pairs of tokens against all else that a network multiplies.

Letters: N tokens of a clip, L tokens of a text, D width of a block.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..checks import typed, whole_number
from ..errors import RequestError
from ..families.base import ModelSpec

#: What Wan's text encoder fills every prompt up to.
NUM_TEXT_TOKENS = 512


@dataclass(frozen=True)
class StepFlops:
    """Floating point operations of one pass of a network over one clip, two for a multiplication and its addition.

    Attributes:
        pairs: self-attention's scores and sums over all pairs of tokens, 4 N^2 D for each block.
        rest: everything else.
    """

    pairs: int
    rest: int

    @property
    def share(self) -> float:
        """The share of self-attention's pairs in all of it."""
        return self.pairs / (self.pairs + self.rest)

    def left(self, cost: float) -> float:
        """Return what is left of a step when its pairs cost this share of dense ones."""
        return 1 - self.share * (1 - cost)


@typed(RequestError)
def step_flops(spec: ModelSpec, num_tokens: int, num_text_tokens: int = NUM_TEXT_TOKENS) -> StepFlops:
    """Count one pass over a clip of so many tokens, from the shapes of a model alone.

    A weight multiplies each token of the clip, or of the text where it makes keys and values for cross-attention. What
    lies outside the blocks and is not met by every token (embeddings of text and time) is left out: of Wan 14B it is
    less than a thousandth. Norms, softmax and the VAE do not count.
    """
    tokens = whole_number(num_tokens, "num_tokens", RequestError, low=1)
    text = whole_number(num_text_tokens, "num_text_tokens", RequestError, low=0)
    rest, widths = 0, dict[int, int]()
    for target, shape in spec.shapes.items():
        if len(shape) < 2 or (kind := spec.kind_of(target)) in ("modulation", "norm"):
            continue
        block = spec.block_of(target)
        if block is None and kind != "head" and len(shape) == 2:
            continue
        rest += 2 * math.prod(shape) * (text if re.search(spec.of_text, target) else tokens)
        if kind == "self_attn" and block is not None:
            widths[block[0]] = max(widths.get(block[0], 0), shape[1])
    width = sum(widths.values())
    return StepFlops(pairs=4 * tokens**2 * width, rest=rest + 4 * tokens * text * width)
