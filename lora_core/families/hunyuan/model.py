"""An opened HunyuanVideo model: its own text encoders and VAE in the places of those that other families share.

Letters: B batch, C latent channels, F latent frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..pieces.model import PiecesModel
from .text import MAX_TOKENS, TextEncoder
from .vae import SCALING_FACTOR, Vae


@dataclass(frozen=True, eq=False)
class HunyuanModel(PiecesModel):
    """The networks of one model; nothing but headers is read before a network is used.

    Its texts are (B, 257, text width), as `forward` takes them apart.
    """

    text: TextEncoder | None  # type: ignore[assignment]  # used as the other one is
    vae: Vae | None  # type: ignore[assignment]  # used as the other one is

    pieces: ClassVar[tuple[str, ...]] = ("high", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")

    @property
    def max_tokens(self) -> int:
        """How many tokens of a prompt the model reads."""
        return MAX_TOKENS

    def normalise(self, latents: Tensor) -> Tensor:
        """Take raw latents (B, C, ...) to the space the transformer works in."""
        return latents * (self.vae.scaling if self.vae else SCALING_FACTOR)

    def denormalise(self, latents: Tensor) -> Tensor:
        """Take the transformer's latents (B, C, ...) back to raw VAE space."""
        return latents / (self.vae.scaling if self.vae else SCALING_FACTOR)
