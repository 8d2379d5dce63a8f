"""What a HunyuanVideo text-to-video model is told of a clip: its texts, and how large that is."""

from __future__ import annotations

from typing import Any

from ..base import ModelSpec
from ..condition import Condition
from ..family import Pictures, Shape, Texts


def condition(model: Any, texts: Texts, pictures: Pictures, num_frames: int) -> Condition:
    """Return what the network is told; a request with a picture has been refused, for the model looks at none."""
    return Condition(*texts)


def condition_shapes(spec: ModelSpec, latents: Shape, num_tokens: int) -> dict[str, Shape]:
    """Return the shapes of what the network is told of clips, with texts of `num_tokens` rows, the pooled one too."""
    return {"positive": (latents[0], num_tokens, spec.text_width)}
