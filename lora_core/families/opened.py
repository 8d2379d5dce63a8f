"""An opened model of any family, as samplers, engines and trainers see it.

Letters: B batch, C latent channels, T frames of pixels, F latent frames, H W latent height and width, L text tokens,
D text width. Latents are in raw VAE space unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ..checkpoints.residency import Network, Offload
from ..experts import Expert
from .base import ModelSpec


class Networks(Protocol):
    """The networks of one model, each handed out on the compute device, and their latent space."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def dtype(self) -> torch.dtype:
        """What the experts compute in."""

    @property
    def device(self) -> torch.device:
        """The compute device."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """What a thread holds while it computes with the networks; it may take it again."""

    def expert(self, name: Expert) -> nn.Module:
        """Return an expert's network, ready on the compute device."""

    def normalise(self, latents: Tensor) -> Tensor:
        """Take raw latents (B, C, ...) to the space the experts work in."""

    def denormalise(self, latents: Tensor) -> Tensor:
        """Take the experts' latents (B, C, ...) back to raw VAE space."""


class OpenedModel(Networks, Protocol):
    """A model with all that turns prompts and pictures into a video."""

    @property
    def offload(self) -> Offload: ...
    @property
    def files(self) -> Mapping[str, Path]:
        """What each piece was opened from."""

    def at_rest(self, name: Expert) -> Network:
        """Return an expert's network as it is stored, off the compute device; its tensors may be files."""

    @property
    def max_tokens(self) -> int:
        """How many tokens of a prompt the model reads."""

    def require(self, *, text: bool = False, vae: bool = False, picture: bool = False) -> None:
        """Raise unless the pieces asked for are there."""

    def encode_text(self, prompts: str | Sequence[str]) -> Tensor:
        """Return embeddings (B, L, D)."""

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens a prompt has."""

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Return the words of a prompt that the text encoder has no token for."""

    def vae_encode(self, frames: Tensor) -> Tensor:
        """Return raw latents (B, C, F, H, W) of frames (B, 3, T, rows, columns) in [-1, 1]."""

    def vae_decode(self, latents: Tensor) -> Tensor:
        """Return frames (B, 3, T, rows, columns) in [-1, 1] of raw latents (B, C, F, H, W)."""

    def release(self) -> None:
        """Take every network off the compute device; the next use brings it back."""


class Opener(Protocol):
    """The opening of a model of one family; only headers are read."""

    def __call__(
        self,
        source: str | Path,
        *,
        low_noise: str | Path | None = None,
        text_encoder: str | Path | None = None,
        tokenizer: str | Path | None = None,
        vae: str | Path | None = None,
        image_encoder: str | Path | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        offload: Offload = "none",
    ) -> OpenedModel:
        """Open a model from a word, a folder or a file; the other pieces where they do not lie beside it."""
