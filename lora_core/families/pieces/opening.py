"""What the opening of a model takes, whatever its family: where it computes, and pieces that fit its experts.

Dtype policy: experts compute in `dtype`; unless given, in float32 on the CPU and in bfloat16 elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from ...checkpoints.checkpoint import Checkpoint, read_json_file
from ...checkpoints.device import usable_device
from ...checkpoints.residency import OFFLOADS, Offload, Residence
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from .text import TextEncoder
from .vae import Vae, open_vae

#: What experts compute in; whole and 8-bit numbers are forms of storage.
_DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def open_residence(
    device: str | torch.device, offload: Offload, dtype: torch.dtype | None
) -> tuple[Residence, torch.dtype]:
    """Return where networks compute, and in what the experts do, or say what of it cannot be."""
    if offload not in OFFLOADS:
        raise ModelError(
            "offload",
            said("unknown mode {offload!r}", offload=offload),
            expected=said("one of {names}", names=", ".join(OFFLOADS)),
            remedy="Choose one of them",
        )
    if dtype not in (None, *_DTYPES):
        names = ", ".join(map(str, _DTYPES))
        raise ModelError(
            "dtype",
            said("experts cannot compute in {dtype}", dtype=dtype),
            expected=said("one of {names}", names=names),
            remedy="Choose one of them",
        )
    residence = Residence(usable_device(device), offload)
    return residence, dtype or (torch.float32 if residence.device.type == "cpu" else torch.bfloat16)


def written_config(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return what diffusers wrote beside the weights; single files have nothing of the kind."""
    file = checkpoint.path / "config.json"
    if not file.is_file():
        return None
    config = read_json_file(file)
    if "quantization_config" in config:
        expected = "weights as published, or a GGUF or 8-bit single file"
        raise ModelError(
            checkpoint.path,
            "its weights were quantised by diffusers",
            expected=expected,
            remedy="Choose another file of the model",
        )
    return {name: value for name, value in config.items() if not name.startswith("_")}


def fitting_text(text: TextEncoder, path: Path, spec: ModelSpec) -> TextEncoder:
    """Return a text encoder whose embeddings are as wide as the experts read them, or say that they are not."""
    wanted = spec.text_width
    if text.width != wanted:
        what = said("a text encoder of width {width} for {spec}", width=text.width, spec=spec.title)
        raise ModelError(
            path,
            what,
            expected=said("width {wanted}", wanted=wanted),
            remedy="Choose the text encoder of this model",
        )
    return text


def open_fitting_vae(path: Path | None, spec: ModelSpec, residence: Residence) -> Vae | None:
    """Open a VAE, if there is one, with as many latent channels as the experts take."""
    return None if path is None else fitting_vae(open_vae(path, residence), path, spec)


class HasChannels(Protocol):
    """A VAE of any family."""

    num_channels: int


AnyVae = TypeVar("AnyVae", bound=HasChannels)


def fitting_vae(vae: AnyVae, path: Path, spec: ModelSpec) -> AnyVae:
    """Return a VAE that has as many latent channels as the experts take, or say that it has not."""
    if vae.num_channels != spec.latent_channels:
        what = said(
            "a VAE of {num_channels} latent channels for {spec}", num_channels=vae.num_channels, spec=spec.title
        )
        raise ModelError(
            path,
            what,
            expected=said("{count} channels", count=spec.latent_channels),
            remedy="Choose the VAE of this model",
        )
    return vae
