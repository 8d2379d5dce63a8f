"""The most that one forward pass is given: how many clips, how long and how large, under how many words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...families.base import ModelSpec
from ...families.condition import Condition
from ...families.family import Shape
from ...families.registry import family_of
from ..batches import Batch
from ..clips.cached import ClipCache, read_text
from ..config import TrainConfig

#: Examples that are kept in memory (`batches.py`).
_NUM_KEPT = 256


@dataclass(frozen=True)
class Load:
    """The shapes of one batch.

    Attributes:
        latents: (B, C, F, H, W).
        condition: field of `Condition` -> its shape.
        kept_bytes: what examples take that are kept in memory between batches.
    """

    latents: Shape
    condition: Mapping[str, Shape]
    kept_bytes: int = 0

    def batch(self, dtype: torch.dtype, device: torch.device | str = "meta") -> Batch:
        """Return a batch of these shapes, without values."""

        def empty(shape: Shape) -> Tensor:
            return torch.empty(shape, device=device)

        tensors: dict[str, Any] = {name: empty(shape) for name, shape in self.condition.items()}
        told = Condition(**tensors)
        level = empty(self.latents[:1])
        whole = Batch(empty(self.latents), empty(self.latents), level, told)
        return whole.to(torch.device(device), dtype)


def load_of_cache(config: TrainConfig, spec: ModelSpec, cache: ClipCache, max_tokens: int | None) -> Load:
    """Return the largest batch that cached clips make; `max_tokens` as `BatchSource` has it."""
    shapes = Counter(clip.shape for clip in cache.trained)
    sizes = {shape: min(config.learning.batch_size, count) for shape, count in shapes.items()}
    largest = max(shapes, key=lambda shape: sizes[shape] * prod(shape))
    num_tokens = max_tokens or 1 + max(
        (len(read_text(text)) for clip in cache.trained for text in clip.texts), default=0
    )
    latents = (sizes[largest], *largest)
    kept = sum(4 * prod(clip.shape) for clip in cache.trained[:_NUM_KEPT])
    return Load(latents, family_of(spec).condition_shapes(spec, latents, num_tokens), kept)


def load_of_config(config: TrainConfig, spec: ModelSpec, num_tokens: int) -> Load:
    """Return the largest batch that a configuration allows, before any clip is known: square clips, texts in full."""
    usual, clips = spec.default_clip, config.clips
    num_frames = clips.num_frames or usual.num_frames
    rows, columns = (clips.resolution,) * 2 if clips.resolution else (usual.height, usual.width)
    frames = (num_frames - 1) // spec.vae_stride[0] + 1
    sides = (
        side // (stride * patch) * patch
        for side, stride, patch in zip((rows, columns), spec.vae_stride[1:], spec.patch_size[1:], strict=True)
    )
    latents = (config.learning.batch_size, spec.latent_channels, frames, *sides)
    return Load(latents, family_of(spec).condition_shapes(spec, latents, num_tokens))
