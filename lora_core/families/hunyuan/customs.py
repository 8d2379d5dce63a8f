"""What the users of HunyuanVideo have found out about its LoRAs and settings, with where they did."""

from __future__ import annotations

from ..base import ModelSpec
from ..family import Customs, RadialUse

#: The scripts of mit-han-lab/radial-attention: 12 of 50 steps dense and decay 0.95; for four times the length 2 steps
#: and 2 blocks, and 1.0. The script keeps no sink, and the paper's figures need one. That the last step is better dense
#: as well is in its issue 51.
_RADIAL_USUAL = RadialUse(0.95, True, 0.25, 1, 0, "the published script for HunyuanVideo at 117 frames")
_RADIAL_LONG = RadialUse(1.0, True, 2, 1, 2, "arXiv 2506.19852, HunyuanVideo at 509 frames, with a LoRA trained for it")
_LONG_FROM = 1.5


def radial(spec: ModelSpec, length: float) -> RadialUse:
    """Return how radial attention is used on clips of this length, the model's default one being 1."""
    return _RADIAL_LONG if length >= _LONG_FROM else _RADIAL_USUAL


CUSTOMS = Customs(radial=radial, instructions=lambda spec, has_picture: "hunyuan")
