"""Which clips are seen together, with which noise, at which levels: each batch a function of its number alone.

So a training that goes on after a stop sees what it would have seen, and several processes share out the batches that
one would have had. Letters: B batch, C latent channels, F latent frames, H W latent height and width, L text tokens,
D text width. Dtype policy: everything float32 but the texts, which are as they were embedded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..families.condition import Condition
from .clips.cached import CachedClip, ClipCache, Example, read_example, read_text
from .levels import Levels

#: Clips kept in memory beside the disk's own cache; large sets are read again.
_NUM_KEPT = 256
#: Held-out clips that are measured at most; more would measure the patience of the user.
MAX_HELD_OUT = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """What one forward pass is given.

    Attributes:
        latents: (B, C, F, H, W), normalised.
        noise: of the same shape, standard normal.
        level: (B,) noise levels t.
        condition: the texts (B, L, D) as `positive`, and what image models are told.
    """

    latents: Tensor
    noise: Tensor
    level: Tensor
    condition: Condition

    @property
    def noisy(self) -> Tensor:
        """The clips at their noise levels, (B, C, F, H, W)."""
        t = self.level.view(-1, 1, 1, 1, 1)
        return (1 - t) * self.latents + t * self.noise

    @property
    def velocity(self) -> Tensor:
        """What a network is to predict of them: the way from clip to noise."""
        return self.noise - self.latents

    def knowing(self, num_known: int, fps: float | None) -> Batch:
        """Return the batch with the first latent frames given, all but one at most, and the rate of its clips told."""
        num_given = min(num_known, self.latents.shape[2] - 1)
        known = self.latents[:, :, :num_given] if num_given else None
        return replace(self, condition=replace(self.condition, known_frames=known, fps=fps))

    def to(self, device: torch.device, dtype: torch.dtype) -> Batch:
        """Return the batch where and as a network computes; what is mixed with latents stays float32."""
        moved = {name: getattr(self, name).to(device) for name in ("latents", "noise", "level")}
        return replace(self, condition=self.condition.to(device, dtype), **moved)


def seed_of(*parts: object) -> int:
    """Return a seed made of anything with a stable text; equal parts give equal seeds, on any machine."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class BatchSource:
    """An endless row of batches for one expert.

    Every pass over the clips is a new order; clips of one shape are put together, and a pass ends with batches that
    are not full rather than leaving clips out.

    Attributes:
        stream: what keeps the draws of several sources apart, such as the expert's name.
        caption_dropout: the share of draws whose text is the empty one.
        max_tokens: tokens that texts are padded to with zeros, as the model pads them; None for one pad behind the
            longest of a batch, which the network counts for all (`Family.fold_padding`).
        known: how many first latent frames are given, one of these numbers for each batch.
        fps: what the network is told of the clips' rate; None for the model's own.
    """

    cache: ClipCache
    levels: Levels
    batch_size: int
    seed: int
    stream: str
    caption_dropout: float
    max_tokens: int | None
    known: tuple[int, ...] = (0,)
    fps: float | None = None

    def __getitem__(self, number: int) -> Batch:
        """Return a batch by its number, counted from 0."""
        clips = self.cache.trained
        pass_number, place = divmod(number, self.per_pass)
        chosen = _order_of_pass(clips, self.batch_size, self.seed, self.stream, pass_number)[place]
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.stream, number))
        texts = [self._text(clips[index], generator) for index in chosen]
        level = self.levels.at(torch.rand(len(chosen), generator=generator, dtype=torch.float64))
        batch = make_batch([clips[index] for index in chosen], texts, level, generator, self.max_tokens)
        return batch.knowing(self._num_known(number), self.fps)

    def held_out(self, num_levels: int) -> tuple[Batch, ...]:
        """Return one batch for each held-out clip: at several levels, the middles of equal shares of the draws."""
        quantiles = (torch.arange(num_levels, dtype=torch.float64) + 0.5) / num_levels
        level = self.levels.at(quantiles)
        batches = []
        for clip in self.cache.held_out[:MAX_HELD_OUT]:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "held out", clip.name))
            many, texts = [clip] * num_levels, [clip.texts[0]] * num_levels
            batch = make_batch(many, texts, level, generator, self.max_tokens)
            batches.append(batch.knowing(self.known[0], self.fps))
        return tuple(batches)

    @property
    def per_pass(self) -> int:
        """How many batches show every clip once."""
        return len(_order_of_pass(self.cache.trained, self.batch_size, self.seed, self.stream, 0))

    def _num_known(self, number: int) -> int:
        """Return how many latent frames are given in a batch; drawn apart, so that all else is as with one number."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.stream, "known", number))
        return self.known[int(torch.randint(len(self.known), (), generator=generator))]

    def _text(self, clip: CachedClip, generator: torch.Generator) -> Path:
        is_dropped = torch.rand((), generator=generator).item() < self.caption_dropout
        choice = int(torch.randint(len(clip.texts), (), generator=generator))
        return self.cache.empty_text if is_dropped else clip.texts[choice]


def make_batch(
    clips: Sequence[CachedClip],
    texts: Sequence[Path],
    level: Tensor,
    generator: torch.Generator,
    max_tokens: int | None,
) -> Batch:
    """Put clips of one shape together, with noise from a generator; it is left where the noise ends."""
    examples = [_example(clip) for clip in clips]
    latents = torch.stack([example.latents for example in examples])
    told: dict[str, Any] = {
        name: torch.stack([example.told[name] for example in examples]) for name in examples[0].told
    }
    embedded = [_text(file) for file in texts]
    num_tokens = max_tokens or 1 + max(len(text) for text in embedded)
    condition = Condition(torch.stack([_padded(text, num_tokens) for text in embedded]), **told)
    noise = torch.randn(latents.shape, generator=generator)
    return Batch(latents, noise, level, condition)


@lru_cache(maxsize=4)
def _order_of_pass(
    clips: tuple[CachedClip, ...], batch_size: int, seed: int, stream: str, pass_number: int
) -> tuple[tuple[int, ...], ...]:
    """Return the batches of one pass, as indices of clips."""
    generator = torch.Generator().manual_seed(seed_of(seed, stream, "pass", pass_number))
    shuffled = torch.randperm(len(clips), generator=generator).tolist()
    by_shape = groupby(sorted(shuffled, key=lambda index: clips[index].shape), key=lambda index: clips[index].shape)
    batches = []
    for _, group in by_shape:
        members = list(group)
        batches += [tuple(members[i : i + batch_size]) for i in range(0, len(members), batch_size)]
    return tuple(batches[i] for i in torch.randperm(len(batches), generator=generator).tolist())


@lru_cache(maxsize=_NUM_KEPT)
def _example(clip: CachedClip) -> Example:
    return read_example(clip)


@lru_cache(maxsize=_NUM_KEPT)
def _text(file: Path) -> Tensor:
    return read_text(file)


def _padded(text: Tensor, num_tokens: int) -> Tensor:
    """Put zeros behind a text (L, D) up to a number of tokens."""
    return torch.nn.functional.pad(text, (0, 0, 0, num_tokens - len(text)))
