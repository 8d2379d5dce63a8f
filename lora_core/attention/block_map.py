"""The block map of radial attention: which blocks of queries see which blocks of keys.

Follows what the published code does (mit-han-lab/radial-attention 72788d4, `radial_attn/attn_mask.py`), which is not
the paper's equation 4 to the letter (arXiv 2506.19852). Of frames that fill their blocks it is that code's map; other
frames that code lays across blocks, where rows of blocks can come out empty, and here each is padded to its own.

Letters: F latent frames, S blocks of one frame, K blocks of a sequence, d the distance of two frames, a and b blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .geometry import RadialGeometry

#: A block is kept where more than this share of the columns that the band touches at all are covered on more than
#: `_COVERED` of their rows (`shrinkMaskStrict`); as fractions, so that no rounding decides.
_SHARE_OF_COLUMNS, _COVERED = (3, 5), (1, 3)


@dataclass(frozen=True, eq=False)
class BlockMap:
    """Which blocks see which; shared by all who ask for the same geometry, so never written to.

    Attributes:
        blocks: (K, K) bool on the CPU, queries by keys.
    """

    geometry: RadialGeometry
    blocks: Tensor

    @property
    def density(self) -> float:
        """The share of blocks that are kept; 1 less the sparsity that papers speak of."""
        return int(self.blocks.count_nonzero()) / self.blocks.numel()

    @property
    def cost(self) -> float:
        """Multiplications against dense attention without padding: below 1 where there is something to win."""
        geometry = self.geometry
        return self.density * (geometry.num_padded / geometry.num_tokens) ** 2


@lru_cache(maxsize=8)
def radial_map(geometry: RadialGeometry) -> BlockMap:
    """Return the block map of a geometry; the same object for an equal geometry.

    What two frames see of each other depends on their distance alone, and within it on the distance of the blocks, so
    F S decisions make the whole map.
    """
    near = _kept(geometry)  # (F, S): by distance of frames and of blocks
    frames, inner = _distances(geometry.num_frames), _distances(geometry.blocks_per_frame)
    video = near[frames][:, :, inner]  # (F, F, S, S)
    if geometry.sink:
        video[:, 0] = True
    num_video = geometry.num_video_blocks
    blocks = torch.ones(geometry.num_blocks, geometry.num_blocks, dtype=torch.bool)
    blocks[:num_video, :num_video] = video.transpose(1, 2).reshape(num_video, num_video)
    return BlockMap(geometry, blocks)


def _distances(count: int) -> Tensor:
    places = torch.arange(count)
    return (places[:, None] - places).abs()


def _kept(geometry: RadialGeometry) -> Tensor:
    """Return (F, S) bool: whether blocks at a distance see each other, in frames at a distance."""
    rows = []
    for d in range(geometry.num_frames):
        if not _is_kept(d, geometry):
            rows.append(torch.zeros(geometry.blocks_per_frame, dtype=torch.bool))
        elif d <= 1:  # a frame sees all of itself and of its neighbours
            rows.append(torch.ones(geometry.blocks_per_frame, dtype=torch.bool))
        else:
            width = max(_band(d, geometry.tokens_per_frame) * geometry.decay, geometry.block_size)
            rows.append(_covered(int(width), geometry))
    return torch.stack(rows)


def _band(d: int, tokens_per_frame: int) -> float:
    """Return how far a token at this distance of frames sees to each side: half as far at each doubling of d."""
    return 2.0 ** (tokens_per_frame.bit_length() - d.bit_length())


def _is_kept(d: int, geometry: RadialGeometry) -> bool:
    """Say whether frames at a distance see each other at all: all do until the band is thinner than a limit."""
    band = _band(d, geometry.tokens_per_frame)
    return band >= geometry.thin_below or d % int(geometry.thin_below / band) == 0


def _covered(width: int, geometry: RadialGeometry) -> Tensor:
    """Return (S,) bool: whether a band |row - column| <= width covers enough of a block at each distance of blocks."""
    size = geometry.block_size
    apart = torch.arange(geometry.blocks_per_frame)[:, None] * size
    columns = torch.arange(size)
    middle = columns - apart  # the row of each column's own token, counted from the block's first row
    num_rows = ((middle + width).clamp(max=size - 1) - (middle - width).clamp(min=0) + 1).clamp(min=0)
    touched, covered = (num_rows > 0).sum(1), (num_rows * _COVERED[1] > size * _COVERED[0]).sum(1)
    return covered * _SHARE_OF_COLUMNS[1] > touched * _SHARE_OF_COLUMNS[0]
