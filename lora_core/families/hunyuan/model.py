"""An opened HunyuanVideo model: its networks, each on the compute device only as long as it may be.

Letters: B batch, C latent channels, T frames, F latent frames.
Latents at this file's functions are in raw VAE space unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ...checkpoints.residency import Network, Offload, Piece, Residence
from ...errors import ModelError
from ...experts import Expert
from ...wording import said
from ..base import ModelSpec
from .sources import HunyuanSources
from .text import MAX_TOKENS, TextEncoder
from .vae import SCALING_FACTOR, Vae

Given = TypeVar("Given", TextEncoder, Vae)


@dataclass(frozen=True, eq=False)
class HunyuanModel:
    """The networks of one model; nothing but headers is read before a network is used.

    Attributes:
        transformer: the only expert, "low_noise".
        text, vae: None when the model was opened without them; `require` says what is missing.
        dtype: what the transformer and the text encoders compute in.
        sources: where each piece lies on disk.
    """

    spec: ModelSpec
    transformer: Piece
    text: TextEncoder | None
    vae: Vae | None
    residence: Residence
    dtype: torch.dtype
    sources: HunyuanSources

    @property
    def device(self) -> torch.device:
        """The compute device."""
        return self.residence.device

    @property
    def lock(self) -> AbstractContextManager[object]:
        """What a thread holds while it computes with the networks; it may take it again."""
        return self.residence.lock

    @property
    def offload(self) -> Offload:
        return self.residence.offload

    @property
    def files(self) -> dict[str, Path]:
        """What each piece was opened from; the transformer is called "high", as any model's only file."""
        pieces = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
        found = {piece: path for piece in pieces if (path := getattr(self.sources, piece)) is not None}
        return {"high": self.sources.transformer, **found}

    @property
    def max_tokens(self) -> int:
        """How many tokens of a prompt the model reads."""
        return MAX_TOKENS

    def expert(self, name: Expert) -> nn.Module:
        """Return the network, ready on the compute device; with offloading all others leave it first."""
        return self._expert(name).use()

    def at_rest(self, name: Expert) -> Network:
        """Return the network as it is stored, off the compute device."""
        return self._expert(name).at_rest()

    def require(self, *, text: bool = False, vae: bool = False, picture: bool = False) -> None:
        """Raise unless the pieces asked for are there; to be called before work."""
        if text:
            self._given(self.text, "text_encoder")
        if vae:
            self._given(self.vae, "vae")

    def encode_text(self, prompts: str | Sequence[str]) -> Tensor:
        """Return texts (B, 257, text width) in `dtype` on the compute device, as `forward` takes them apart."""
        listed = [prompts] if isinstance(prompts, str) else list(prompts)
        with self.lock:
            return self._given(self.text, "text_encoder").encode(listed).to(self.dtype)

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens a prompt has; the model sees the first 256."""
        with self.lock:
            return self._given(self.text, "text_encoder").num_tokens(prompt)

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Return the words of a prompt that the text encoder has no token for."""
        with self.lock:
            return self._given(self.text, "text_encoder").unknown_words(prompt)

    def vae_encode(self, frames: Tensor) -> Tensor:
        """Return raw latents (B, C, F, H, W) of frames (B, 3, T, rows, columns) in [-1, 1]; T is 4k+1."""
        with self.lock:
            return self._given(self.vae, "vae").encode(frames)

    def vae_decode(self, latents: Tensor) -> Tensor:
        """Return frames (B, 3, T, rows, columns) in [-1, 1] of raw latents (B, C, F, H, W)."""
        with self.lock:
            return self._given(self.vae, "vae").decode(latents)

    def normalise(self, latents: Tensor) -> Tensor:
        """Take raw latents (B, C, ...) to the space the transformer works in."""
        return latents * (self.vae.scaling if self.vae else SCALING_FACTOR)

    def denormalise(self, latents: Tensor) -> Tensor:
        """Take the transformer's latents (B, C, ...) back to raw VAE space."""
        return latents / (self.vae.scaling if self.vae else SCALING_FACTOR)

    def release(self) -> None:
        """Take every network off the compute device; the next use brings it back."""
        self.residence.release()

    def _expert(self, name: Expert) -> Piece:
        if name != "low_noise":
            what = said("it has no {name!r} expert", name=name)
            raise ModelError(self.spec.title, what, expected="low_noise", remedy="Name one that it has")
        return self.transformer

    def _given(self, piece: Given | None, argument: str) -> Given:
        """Return a piece that the model was opened with, or say how to give it."""
        if piece is None:
            what = said("it was opened without {what}", what=argument.replace("_", " "))
            remedy = said("Pass its path as {argument}", argument=argument)
            raise ModelError(self.spec.title, what, expected=self.sources.missing()[argument], remedy=remedy)
        return piece
