"""The clips that the published weights of Cosmos Predict2 are made for.

NVIDIA has four checkpoints of each network, `model-480p-10fps.pt` to `model-720p-16fps.pt`, all of the same shapes.
Sizes: `VIDEO_RES_SIZE_INFO` of its cosmos-predict2 repository; lengths: 4 (16 - 1) + 1 and 4 (24 - 1) + 1 frames of its
16 and 24 latent frames.
"""

from __future__ import annotations

from ..base import ModelSpec
from ..family import ClipTable
from . import origin

_TABLE = ClipTable(
    sizes={
        480: {"16:9": (432, 768), "4:3": (480, 640), "1:1": (480, 480), "3:4": (640, 480), "9:16": (768, 432)},
        720: {"16:9": (704, 1280), "4:3": (704, 960), "1:1": (960, 960), "3:4": (960, 704), "9:16": (1280, 704)},
    },
    lengths={10: 61, 16: 93},
    told_by=(r"(?<!\d)(480|720)p(?![a-z])", r"(?<!\d)(10|16)[ _-]?fps(?![a-z])"),
)


def clip_table(spec: ModelSpec) -> ClipTable | None:
    """Return the table for a network of a published size; nobody knows what another is made for."""
    return _TABLE if origin.size(spec.shapes["x_embedder.proj.1"][0]) else None
