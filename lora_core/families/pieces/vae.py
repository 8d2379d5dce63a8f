"""Wan's video VAE: frames to raw latents and back.

Letters: B clips, C latent channels, T frames of pixels, F latent frames.
Latents are in raw VAE space, the space of ComfyUI's LATENT; `normalise` takes them to the transformer's.
Dtype policy: the VAE computes in float32 whatever the experts compute in, for its small numbers band in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint, open_checkpoint, read_json_file
from ...checkpoints.residency import Network, Piece, Residence
from ...errors import ModelError
from .config import vae_config
from .vae_names import vae_to_diffusers, vae_to_native

#: What would satisfy a model that was opened without one.
VAE_EXPECTED = "a Wan VAE, such as wan_2.1_vae.safetensors"


class Vae:
    """The video VAE; the network itself is opened at the first clip."""

    def __init__(self, piece: Piece, config: dict[str, Any]) -> None:
        self.num_channels: int = config["z_dim"]
        self.mean: Sequence[float] = config["latents_mean"]
        self.std: Sequence[float] = config["latents_std"]
        self.piece = piece

    def encode(self, frames: Tensor) -> Tensor:
        """Return raw latents (B, C, F, H, W), the mean of the posterior, of frames (B, 3, T, 8H, 8W) in [-1, 1]."""
        network: Any = self.piece.use()
        with torch.no_grad():
            return network.encode(frames.to(self.piece.residence.device, torch.float32)).latent_dist.mode()

    def decode(self, latents: Tensor) -> Tensor:
        """Return frames (B, 3, T, 8H, 8W) in [-1, 1] of raw latents (B, C, F, H, W), which may ask for gradients."""
        network: Any = self.piece.use()
        with torch.set_grad_enabled(latents.requires_grad):
            return network.decode(latents.to(self.piece.residence.device, torch.float32), return_dict=False)[0]


def open_vae(path: Path, residence: Residence) -> Vae:
    """Read the headers of a VAE, single file in native or diffusers naming, or diffusers folder."""
    checkpoint = open_checkpoint(path)
    stated = path / "config.json"
    config = read_json_file(stated) if stated.is_file() else vae_config(_native_shapes(checkpoint), path)
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    return Vae(residence.add(lambda: _load(checkpoint, arguments)), arguments)


def _native_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    if checkpoint.is_gguf:
        raise ModelError(
            checkpoint.path, "is a GGUF file", expected="a VAE as .safetensors or .pth", remedy="Choose another file"
        )
    nested = any(".downsampler." in name for name in checkpoint.shapes)
    return {vae_to_native(name, nested=nested) or name: shape for name, shape in checkpoint.shapes.items()}


def _load(checkpoint: Checkpoint, config: dict[str, Any]) -> Network:
    from diffusers import AutoencoderKLWan

    state = {vae_to_diffusers(name) or name: tensor for name, tensor in checkpoint.tensors().items()}
    module = build_module(lambda: AutoencoderKLWan.from_config(config), state, checkpoint.path)
    return Network(module, {name: torch.float32 for name, _ in module.named_parameters()})
