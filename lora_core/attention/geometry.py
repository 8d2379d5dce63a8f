"""The geometry of radial attention: all that decides which pairs of tokens see each other, as one hashable value."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import finite_number, whole_number
from ..errors import RequestError
from ..wording import said

#: The published code counts in this many tokens whatever its blocks are (`radial_attn/attn_mask.py`, "hardcoded").
THIN_BELOW = 128
_MIN_BLOCK, _MAX_BLOCK = 16, 1024
_DEFAULT_BLOCK = 128


@dataclass(frozen=True)
class RadialGeometry:
    """Tokens as a network orders them: frame by frame, row by row, text last; and how far they see.

    A sequence is cut into blocks of tokens, each frame into blocks of its own: its last block is filled up with padding
    that nobody sees, and so is the last one of the text.

    Attributes:
        num_frames: latent frames.
        tokens_per_frame: patches of one latent frame.
        block_size: tokens of a block, a power of two from 16 to 1024.
        decay: factor on the width of the band that frames from the second neighbour on see of each other. The paper's
            figures for long videos are at 1; below, less is kept.
        sink: whether every frame sees the whole of frame 0.
        num_text_tokens: tokens behind the video that see all and are seen by all (HunyuanVideo); 0 for none.
        thin_below: where the band at some distance would be narrower than so many tokens, before `decay`, only every
            2nd, 4th, ... distance is kept.

    Raises:
        RequestError: a value is out of its range.
    """

    num_frames: int
    tokens_per_frame: int
    block_size: int = _DEFAULT_BLOCK
    decay: float = 1.0
    sink: bool = True
    num_text_tokens: int = 0
    thin_below: int = THIN_BELOW

    def __post_init__(self) -> None:
        for name in ("num_frames", "tokens_per_frame", "thin_below"):
            whole_number(getattr(self, name), name, RequestError, low=1)
        whole_number(self.num_text_tokens, "num_text_tokens", RequestError, low=0)
        check_block_size(self.block_size)
        if finite_number(self.decay, "decay", RequestError) <= 0:
            raise RequestError(
                "decay",
                said("{decay:g} leaves nothing of a band", decay=self.decay),
                expected="above 0, 1 in the paper's long videos",
                remedy="Give a number above 0; the smaller, the more is left out",
            )
        if not isinstance(self.sink, bool):
            raise RequestError(
                "sink",
                said("{sink!r} is neither yes nor no", sink=self.sink),
                expected="True or False",
                remedy="Give one of the two",
            )

    @property
    def num_tokens(self) -> int:
        """The tokens of a sequence, text included."""
        return self.num_frames * self.tokens_per_frame + self.num_text_tokens

    @property
    def blocks_per_frame(self) -> int:
        return -(-self.tokens_per_frame // self.block_size)

    @property
    def num_video_blocks(self) -> int:
        return self.num_frames * self.blocks_per_frame

    @property
    def num_blocks(self) -> int:
        """The blocks of a sequence, those of the text included."""
        return self.num_video_blocks + -(-self.num_text_tokens // self.block_size)

    @property
    def num_padded(self) -> int:
        """The tokens of all blocks, padding included."""
        return self.num_blocks * self.block_size

    @property
    def is_padded(self) -> bool:
        return self.num_padded != self.num_tokens


def check_block_size(block_size: object) -> None:
    """Raise unless blocks can be of this size."""
    size = whole_number(block_size, "block_size", RequestError, low=_MIN_BLOCK, high=_MAX_BLOCK)
    if size & (size - 1):
        below = 1 << (size.bit_length() - 1)
        raise RequestError(
            "block_size",
            said("{size} is no power of two", size=size),
            expected=said("{below} or {above}", below=below, above=2 * below),
            remedy="Choose one of the two, or leave it out for the size that fits the frames",
        )


def fitting_block_size(tokens_per_frame: int) -> int:
    """Return the usual 128, or for frames of fewer tokens the largest size that they fill, at least 16."""
    return max(_MIN_BLOCK, min(_DEFAULT_BLOCK, _power_below(tokens_per_frame)))


def fitting_thinness(tokens_per_frame: int) -> int:
    """Return the `thin_below` of a frame: the published 128, or less, so that frames see all of their neighbours."""
    return min(THIN_BELOW, _power_below(tokens_per_frame))


def _power_below(count: int) -> int:
    return 1 << (count.bit_length() - 1)
