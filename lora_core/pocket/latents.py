"""Training data for the experts: scenes drawn, encoded to normalised latents, and their captions embedded.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L text tokens. Everything is float32.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from ..families.wan.latents import LATENT_MEAN, LATENT_STD
from . import world
from .bars import progress_bar
from .dense_vae import decode_latents, encode_clip
from .text import embed
from .train_vae import to_batch

NUM_HELD_OUT = 64
BATCH_SIZE = 8


@dataclass(frozen=True)
class World:
    """The fixed parts around the experts: how clips become latents and captions become embeddings."""

    vae: AutoencoderKLWan
    tokenizer: PreTrainedTokenizerFast
    text_encoder: UMT5EncoderModel

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Embed captions, (B, L, width)."""
        return embed(captions, self.tokenizer, self.text_encoder)


@dataclass(frozen=True)
class Examples:
    """Normalised latents (B, C, F, H, W) and the caption embeddings (B, L, width) that belong to them."""

    latents: Tensor
    text: Tensor

    def batch(self, size: int, generator: torch.Generator) -> "Examples":
        """Pick `size` examples at random, with repetition."""
        index = torch.randint(len(self.latents), (size,), generator=generator)
        return Examples(self.latents[index], self.text[index])

    def __add__(self, other: "Examples") -> "Examples":
        return Examples(torch.cat([self.latents, other.latents]), torch.cat([self.text, other.text]))


def held_out_words() -> list[tuple[str, str, str, str]]:
    """List the (colour, shape, direction, background) mixtures that no expert is trained on, kept for measuring."""
    mixtures = list(itertools.product(world.COLOURS, world.SHAPES, world.DIRECTIONS, world.BACKGROUNDS))
    order = np.random.default_rng(20).permutation(len(mixtures))
    return [mixtures[index] for index in order[:NUM_HELD_OUT]]


def training_scenes(rng: np.random.Generator, num_scenes: int, **words: str | bool) -> list[world.Scene]:
    """Draw scenes with the given words, none of them a held-out mixture."""
    held_out = set(held_out_words())
    scenes: list[world.Scene] = []
    while len(scenes) < num_scenes:
        scene = world.random_scene(rng, **words)
        if (scene.colour, scene.shape, scene.motion, scene.background) not in held_out:
            scenes.append(scene)
    return scenes


def encode_scenes(parts: World, scenes: Sequence[world.Scene], what: str) -> Examples:
    """Draw, encode and caption scenes."""
    latents = []
    starts = range(0, len(scenes), BATCH_SIZE)
    with progress_bar(len(starts), f"encode {what}") as advance:
        for start in starts:
            clips = np.stack([world.draw(scene) for scene in scenes[start : start + BATCH_SIZE]])
            latents.append(encode_frames(parts.vae, clips))
            advance("")
    captions = [world.caption(replace(scene, neon=False)) for scene in scenes]
    return Examples(torch.cat(latents), parts.embed(captions))


@torch.no_grad()
def encode_frames(vae: AutoencoderKLWan, clips: np.ndarray) -> Tensor:
    """Encode float32 (B, T, 64, 64, 3) in [-1, 1] to normalised latents (B, C, F, H, W)."""
    mean, _ = encode_clip(vae, to_batch((clips + 1.0) * 127.5))
    offset, scale = wan_statistics(mean.shape[1])
    return (mean - offset) / scale


@torch.no_grad()
def decode_frames(vae: AutoencoderKLWan, latents: Tensor) -> np.ndarray:
    """Decode normalised latents (B, C, F, H, W) to float32 (B, T, 64, 64, 3) in [-1, 1]."""
    offset, scale = wan_statistics(latents.shape[1])
    parts = [decode_latents(vae, part) for part in (latents * scale + offset).split(BATCH_SIZE)]
    return torch.cat(parts).clamp(-1.0, 1.0).permute(0, 2, 3, 4, 1).numpy()


def wan_statistics(num_channels: int) -> tuple[Tensor, Tensor]:
    """Give Wan's mean and deviation per latent channel, each (1, C, 1, 1, 1)."""
    mean, deviation = torch.tensor(LATENT_MEAN[num_channels]), torch.tensor(LATENT_STD[num_channels])
    return mean.view(1, -1, 1, 1, 1), deviation.view(1, -1, 1, 1, 1)
