"""What a family tells of its networks' self-attention, for those who compute it otherwise: headless, and in ComfyUI.

Letters: B batch, H heads, L tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Attend(Protocol):
    """What computes a self-attention of a network."""

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, num_text: int = 0, num_text_valid: Tensor | None = None, /
    ) -> Tensor:
        """Return attention (B, H, L, D) of q, k and v of this shape.

        The last `num_text` tokens are a text's, behind the video's. `num_text_valid` (B,) is how many of them are each
        item's own, the first ones; None for all.
        """


class ReplaceSelfAttention(Protocol):
    """Another way to compute the self-attention of a network's blocks, for as long as a `with` block lasts."""

    def __call__(self, network: nn.Module, choose: Callable[[int], Attend | None]) -> AbstractContextManager[None]:
        """Return the context; at each call of a block `choose(block)` says what computes it, None for its own.

        Whatever was there before is back when the context ends. Raises ModelError where another is in place.
        """


@contextmanager
def processors_replaced(
    attentions: Iterable[Any], chosen: type[Any], choose: Callable[[int], Attend | None]
) -> Iterator[None]:
    """Put `chosen(usual processor, choose of its block)` in the place of each processor of diffusers' attentions.

    The attentions come in the order of their blocks; see `ReplaceSelfAttention`.
    """
    with ExitStack() as undo:
        for number, attention in enumerate(attentions):
            usual = attention.processor
            if isinstance(usual, chosen):
                what = "its self-attention is replaced already"
                raise ModelError(f"blocks.{number}", what, remedy="Leave the other context first")
            undo.callback(setattr, attention, "processor", usual)
            attention.processor = chosen(usual, partial(choose, number))
        yield


@dataclass(frozen=True, eq=False)
class NativeAttention:
    """The self-attention of a family's network in ComfyUI, as the host's attention override meets it.

    Attributes:
        network: the class of the network, with its module. What is derived from it has attention of other kinds.
        tokens: whose tokens stand in its sequence, in their order; with the text's among them it is one attention over
            both, the only one of its block.
        blocks: the host's `block_type` -> what stands before the number of such a block in the names of targets.
        head_width: network -> the width of a head.
    """

    network: str
    tokens: tuple[Literal["video", "text"], ...]
    blocks: Mapping[str, str]
    head_width: Callable[[Any], int]
