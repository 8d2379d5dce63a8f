"""The settings of radial attention, as users give them; what is left open follows from model and length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..checks import from_settings, known, typed
from ..errors import ModelError, RequestError
from ..families.base import ModelSpec
from ..families.registry import family_of
from ..wording import said
from .dense import DenseRule
from .executors import EXECUTORS, ExecutorName
from .geometry import RadialGeometry, check_block_size, fitting_block_size, fitting_thinness


@dataclass(frozen=True)
class RadialSettings:
    """How radial attention is to be.

    Attributes:
        decay, sink: as in `RadialGeometry`.
        block_size: None for the size that fits the frames.
        dense: what stays dense.
        executor: a key of `EXECUTORS`, or "auto" for the device's.
        source: where the figures are from; "" where they are the user's own.
    """

    decay: float = 1.0
    sink: bool = True
    block_size: int | None = None
    dense: DenseRule = field(default_factory=DenseRule)
    executor: ExecutorName = "auto"
    source: str = ""

    def __post_init__(self) -> None:
        RadialGeometry(1, 1, decay=self.decay, sink=self.sink)
        if self.block_size is not None:
            check_block_size(self.block_size)
        known(self.executor, ("auto", *EXECUTORS), "executor", RequestError)


def settings_from(row: Mapping[str, Any], where: str) -> RadialSettings:
    """Return the settings that `dataclasses.asdict` has made plain data of."""
    dense = from_settings(DenseRule, row.get("dense", {}), where, RequestError)
    return from_settings(RadialSettings, {**row, "dense": dense}, where, RequestError)


@typed(RequestError)
def usual_radial(spec: ModelSpec, num_latent_frames: int) -> RadialSettings:
    """Return the settings that a model was shown with at about this length, or those of the nearest there are."""
    use = family_of(spec).customs.radial(spec, num_latent_frames / usual_length(spec))
    if use is None:
        return RadialSettings()
    dense = DenseRule(use.first_steps, use.last_steps, use.first_blocks)
    return RadialSettings(use.decay, use.sink, dense=dense, source=use.evidence)


def usual_length(spec: ModelSpec) -> int:
    """Return the latent frames of a model's default clip."""
    return (spec.default_clip.num_frames - 1) // spec.vae_stride[0] + 1


def geometry_of(spec: ModelSpec, latent_shape: Sequence[int], settings: RadialSettings) -> RadialGeometry:
    """Return the geometry of latents (B, C, F, H, W) in a model."""
    _, _, frames, height, width = latent_shape
    per_time, per_row, per_column = spec.patch_size
    tokens = (height // per_row) * (width // per_column)
    return RadialGeometry(
        frames // per_time,
        tokens,
        block_size=settings.block_size or fitting_block_size(tokens),
        decay=settings.decay,
        sink=settings.sink,
        thin_below=fitting_thinness(tokens),
    )


def require_self_attention(spec: ModelSpec) -> None:
    """Raise unless it is known how to give the networks of a model another self-attention."""
    if family_of(spec).self_attention is None:
        what = said("its self-attention cannot be replaced in {model}", model=spec.title)
        raise ModelError("radial attention", what, remedy="Sample this model without it")
