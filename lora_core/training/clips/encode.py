"""What a model makes of a clip and its captions: normalised latents, embedded texts, and what it is told of a picture.

Letters: B batch, C latent channels, T frames of pixels, F latent frames, H W latent height and width, L text tokens,
D text width.
Dtype policy: latents and what goes with them float32; texts in the dtype they were embedded in; all on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...checks import first_few, shown
from ...families.condition import Condition
from ...families.opened import OpenedModel
from ...families.registry import family_of

#: The name of the latents among the tensors of a clip, and that of an embedded caption.
LATENTS, TEXT = "latents", "text"
#: What of a condition is of the texts, and so not of the clip.
_OF_TEXTS = ("positive", "negative")


def encode_clip(model: OpenedModel, frames: np.ndarray) -> dict[str, Tensor]:
    """Return the latents (C, F, H, W) of frames (T, height, width, 3), and what an image model is told beside them.

    What it is told goes under the names of `Condition`'s fields, without the batch axis.
    """
    latents = model.normalise(model.vae_encode(to_pixels(frames)))[0]
    tensors = {LATENTS: latents, **(_told(model, frames) if model.spec.image_conditioned else {})}
    return {name: tensor.to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()}


def to_pixels(frames: np.ndarray) -> Tensor:
    """Turn frames (T, height, width, 3) uint8 into (1, 3, T, height, width) in [-1, 1], float32."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(torch.float32) / 127.5 - 1
    return pixels.permute(3, 0, 1, 2)[None]


def to_frames(pixels: Tensor) -> np.ndarray:
    """Turn (1, 3, T, height, width) in [-1, 1] into frames (T, height, width, 3) uint8."""
    bytes_ = ((pixels[0].float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
    return bytes_.permute(1, 2, 3, 0).numpy()


def _told(model: OpenedModel, frames: np.ndarray) -> Mapping[str, Tensor]:
    """Return what the network is told of a clip's first picture, and of its last where it needs both."""
    first = Image.fromarray(np.ascontiguousarray(frames[0]))
    last = Image.fromarray(np.ascontiguousarray(frames[-1])) if model.spec.first_and_last else None
    no_text = torch.zeros(1, 0, 0)
    told: Condition = family_of(model.spec).condition(model, (no_text, None), (first, last), len(frames))
    found = {field.name: getattr(told, field.name) for field in fields(told) if field.name not in _OF_TEXTS}
    return {name: tensor[0] for name, tensor in found.items() if isinstance(tensor, Tensor)}


def encode_caption(model: OpenedModel, caption: str) -> Tensor:
    """Return the embedding (L, D) of a caption, without the zeros behind its last token."""
    embedded = model.encode_text(caption)[0].cpu()
    length = int(embedded.any(dim=-1).nonzero().max()) + 1 if embedded.any() else 1
    return embedded[:length].contiguous()


def caption_notes(model: OpenedModel, captions: Iterable[str]) -> Iterator[str]:
    """Yield what a model does not read of captions: what is beyond its last token, and words it has no token for."""
    listed = list(dict.fromkeys(captions))
    long = {caption: num for caption in listed if (num := model.num_tokens(caption)) > model.max_tokens}
    if long:
        named = first_few(f"{shown(caption, 40)} has {num}" for caption, num in long.items())
        yield f"of captions only the first {model.max_tokens} tokens are read: {named}"
    words = dict.fromkeys(word for caption in listed for word in model.unknown_words(caption))
    if words:
        yield f"words that mean nothing to the text encoder: {first_few(map(repr, words), 8)}"
