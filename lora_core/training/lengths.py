"""The lengths of a training that extends clips: which is known, which is learnt, and how the one grows to the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..attention.dense import DenseRule
from ..attention.settings import RadialSettings, require_self_attention
from ..checks import first_few
from ..errors import TrainingError
from ..families.base import ModelSpec
from ..wording import said
from .batches import Batch, BatchSource
from .clips.cached import ClipCache
from .clips.windows import frames_wanted, whole_count
from .config import TrainConfig


@dataclass(frozen=True)
class Lengths:
    """The two lengths of a training, in latent frames.

    Attributes:
        base: the known one.
        long: the learnt one.
        stages: the lengths that are trained at beside the known one, growing; the last is `long`.
    """

    base: int
    long: int
    stages: tuple[int, ...]

    def at(self, share: float) -> int:
        """Return the length when this share of a training is done, 0 up to 1."""
        return self.stages[min(int(share * len(self.stages)), len(self.stages) - 1)]


def lengths_of(config: TrainConfig, spec: ModelSpec) -> Lengths:
    """Return the lengths that a configuration asks for, or say why a model cannot be trained at them."""
    settings, stride = config.length, spec.vae_stride[0]
    long = frames_wanted(config.clips, spec)
    base = settings.base_frames or spec.default_clip.num_frames
    if base != (below := whole_count(base, spec)):
        expected = said("{stride}k+1, such as {below} or {above}", stride=stride, below=below, above=below + stride)
        raise TrainingError("base_frames", f"{base}", expected=expected, remedy="Choose one of them")
    if base >= long:
        what = said("{long} frames are no more than the {base} that are known already", long=long, base=base)
        raise TrainingError("num_frames", what, remedy="Set num_frames to the longer length, or lower base_frames")
    if settings.dense_blocks >= spec.num_blocks:
        what = said("{count} dense blocks leave none that is radial", count=settings.dense_blocks)
        expected = said("fewer than {count}", count=spec.num_blocks)
        raise TrainingError("dense_blocks", what, expected=expected, remedy="Lower it")
    require_self_attention(spec)
    first, last = ((frames - 1) // stride + 1 for frames in (base, long))
    steps = min(settings.progressive, last - first)
    stages = tuple(first + round((last - first) * (step + 1) / steps) for step in range(steps))
    return Lengths(first, last, stages)


def radial_of(config: TrainConfig) -> RadialSettings:
    """Return how the longer length is attended to; which steps of a run are dense is no matter of training."""
    dense = DenseRule(first_steps=0, last_steps=0, first_blocks=config.length.dense_blocks)
    return RadialSettings(decay=config.length.radial_decay, dense=dense)


def check_clips(config: TrainConfig, spec: ModelSpec, cache: ClipCache) -> None:
    """Raise unless every clip is as long as what is learnt, where that is a length."""
    if config.noise.objective != "extend-length":
        return
    lengths = lengths_of(config, spec)
    short = {clip.source: clip.num_frames for clip in cache.clips if clip.shape[1] < lengths.long}
    if short:
        name, count = next(iter(short.items()))
        what = said("{count} frames are too few to learn {long} latent frames of", count=count, long=lengths.long)
        remedy = said("Take out or replace {names}, or lower num_frames", names=first_few(short, 8))
        raise TrainingError(name, what, remedy=remedy)


@dataclass(frozen=True)
class GrowingSource:
    """The batches of a source, cut to the length that is trained at when they come.

    Attributes:
        total: how many batches the training sees.
    """

    source: BatchSource
    lengths: Lengths
    total: int

    def __getitem__(self, number: int) -> Batch:
        return beginning(self.source[number], self.lengths.at(number / self.total))

    def held_out(self, num_levels: int) -> tuple[Batch, ...]:
        """Return the batches to measure with, at the whole length."""
        return self.source.held_out(num_levels)


def beginning(batch: Batch, num_latent_frames: int) -> Batch:
    """Return the first latent frames of a batch; of a causal VAE they are those of the shorter clip."""
    if batch.latents.shape[2] == num_latent_frames:
        return batch
    cut = {name: getattr(batch, name)[:, :, :num_latent_frames] for name in ("latents", "noise")}
    return replace(batch, condition=batch.condition.beginning(num_latent_frames), **cut)
