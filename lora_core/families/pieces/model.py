"""An opened model made of experts, a text encoder and a VAE, each on the compute device only as long as it may be.

Letters: B batch, C latent channels, T frames, F latent frames.
Latents at this file's functions are in raw VAE space unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ...checkpoints.residency import Network, Offload, Piece, Residence
from ...errors import ModelError
from ...experts import EXPERTS, Expert
from ...wording import said
from ..base import ModelSpec
from .latents import LATENT_MEAN, LATENT_STD
from .text import MAX_TOKENS, TextEncoder
from .vae import Vae

Given = TypeVar("Given")


class Sources(Protocol):
    """Where the pieces of a model lie on disk, and what would satisfy those that are not there."""

    @property
    def vae_expected(self) -> str: ...
    @property
    def text_expected(self) -> str: ...


@dataclass(frozen=True, eq=False)
class PiecesModel:
    """The networks of one model; nothing but headers is read before a network is used.

    Attributes:
        experts: the networks by name; a model of one expert has it under "low_noise".
        text, vae: None when the model was opened without them; `require` says what is missing.
        dtype: what the experts compute in.
        sources: where each piece lies on disk.
    """

    spec: ModelSpec
    experts: Mapping[Expert, Piece]
    text: TextEncoder | None
    vae: Vae | None
    residence: Residence
    dtype: torch.dtype
    sources: Sources

    #: The pieces that a model may be opened from, as `sources` names them.
    pieces: ClassVar[tuple[str, ...]] = ("high", "low", "vae", "text_encoder", "tokenizer")

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
        """What each piece was opened from, as far as it was given."""
        return {piece: path for piece in self.pieces if (path := getattr(self.sources, piece, None)) is not None}

    @property
    def max_tokens(self) -> int:
        """How many tokens of a prompt the model reads."""
        return MAX_TOKENS

    def expert(self, name: Expert) -> nn.Module:
        """Return the expert's network, ready on the compute device; with offloading all others leave it first."""
        return self._expert(name).use()

    def at_rest(self, name: Expert) -> Network:
        """Return the expert's network as it is stored, off the compute device."""
        return self._expert(name).at_rest()

    def require(self, *, text: bool = False, vae: bool = False, picture: bool = False) -> None:
        """Raise unless the pieces asked for are there, as far as the model needs them; to be called before work."""
        if text:
            self._text()
        if vae:
            self._vae()

    def encode_text(self, prompts: str | Sequence[str]) -> Tensor:
        """Return embeddings (B, 512, text width) in `dtype` on the compute device, zero after each prompt's end."""
        listed = [prompts] if isinstance(prompts, str) else list(prompts)
        with self.lock:
            return self._text().encode(listed).to(self.dtype)

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens a prompt has; the model sees the first 512."""
        with self.lock:
            return self._text().num_tokens(prompt)

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Return the words of a prompt that the text encoder has no token for."""
        with self.lock:
            return self._text().unknown_words(prompt)

    def vae_encode(self, frames: Tensor) -> Tensor:
        """Return raw latents (B, C, F, H, W) of frames (B, 3, T, rows, columns) in [-1, 1]; T is 4k+1."""
        with self.lock:
            return self._vae().encode(frames)

    def vae_decode(self, latents: Tensor) -> Tensor:
        """Return frames (B, 3, T, rows, columns) in [-1, 1] of raw latents (B, C, F, H, W)."""
        with self.lock:
            return self._vae().decode(latents)

    def normalise(self, latents: Tensor) -> Tensor:
        """Take raw latents (B, C, ...) to the space the experts work in, mean 0 and deviation 1."""
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Take the experts' latents (B, C, ...) back to raw VAE space."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def release(self) -> None:
        """Take every network off the compute device; the next use brings it back."""
        self.residence.release()

    def _expert(self, name: Expert) -> Piece:
        piece = self.experts.get(name)
        if piece is None:
            have = " and ".join(self.experts)
            raise ModelError(
                self.spec.title,
                said("it has no {name!r} expert", name=name),
                expected=have,
                remedy="Name one that it has",
            )
        return piece

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.spec.latent_channels
        mean, std = (self.vae.mean, self.vae.std) if self.vae else (LATENT_MEAN[channels], LATENT_STD[channels])
        shape = (1, channels, *(1,) * (latents.ndim - 2))
        return latents.new_tensor(mean).reshape(shape), latents.new_tensor(std).reshape(shape)

    def _text(self) -> TextEncoder:
        return self._given(self.text, "a text encoder", self.sources.text_expected, "text_encoder")

    def _vae(self) -> Vae:
        return self._given(self.vae, "a VAE", self.sources.vae_expected, "vae")

    def _given(self, piece: Given | None, what: str, expected: str, argument: str) -> Given:
        """Return a piece that the model was opened with, or say how to give it."""
        if piece is None:
            remedy = said("Pass its path as {argument}", argument=argument)
            raise ModelError(
                self.spec.title, said("it was opened without {what}", what=what), expected=expected, remedy=remedy
            )
        return piece


def experts_by_name(high: Piece, low: Piece | None) -> dict[Expert, Piece]:
    """Return the experts under their names; a single network serves all sigmas as "low_noise"."""
    return {EXPERTS[1]: high} if low is None else {EXPERTS[0]: high, EXPERTS[1]: low}
