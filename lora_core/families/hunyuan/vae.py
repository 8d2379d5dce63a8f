"""HunyuanVideo's video VAE: frames to raw latents and back.

Letters: B clips, C latent channels, T frames of pixels, F latent frames.
Latents are in raw VAE space, the space of ComfyUI's LATENT; `normalise` takes them to the transformer's.
Dtype policy: the VAE computes in float32 whatever the transformer computes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint, open_checkpoint, read_json_file
from ...checkpoints.residency import Network, Piece, Residence
from ...errors import ModelError
from ...wording import said
from .vae_names import NUM_LEVELS, vae_to_diffusers

#: What raw latents are multiplied with for the transformer: the published VAE's configuration, and ComfyUI's.
SCALING_FACTOR = 0.476986


class Vae:
    """The video VAE; the network itself is opened at the first clip."""

    def __init__(self, piece: Piece, config: Mapping[str, Any]) -> None:
        self.num_channels: int = config["latent_channels"]
        self.scaling: float = config.get("scaling_factor", SCALING_FACTOR)
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
    """Read the headers of a VAE, single file in ComfyUI's or diffusers' naming, or diffusers folder."""
    checkpoint = open_checkpoint(path)
    if checkpoint.is_gguf:
        raise ModelError(path, "is a GGUF file", expected="a VAE as .safetensors or .pt", remedy="Choose another file")
    stated = path / "config.json"
    config = read_json_file(stated) if stated.is_file() else vae_config(checkpoint)
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    return Vae(residence.add(lambda: _load(checkpoint, arguments)), arguments)


def vae_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the arguments of `AutoencoderKLHunyuanVideo` for the shapes of a single file's tensors."""
    shapes = {vae_to_diffusers(name.removeprefix("vae.")): shape for name, shape in checkpoint.shapes.items()}
    try:
        blocks = [shapes[f"encoder.down_blocks.{level}.resnets.0.conv1.conv.weight"][0] for level in range(NUM_LEVELS)]
        return {
            "latent_channels": shapes["post_quant_conv.weight"][0],
            "block_out_channels": blocks,
            "layers_per_block": sum(".down_blocks.0.resnets." in n and n.endswith("norm1.weight") for n in shapes),
            "norm_num_groups": min(32, blocks[0]),
            "scaling_factor": SCALING_FACTOR,
        }
    except KeyError as missing:
        raise ModelError(
            checkpoint.path,
            said("is no VAE of HunyuanVideo: it has no tensor {first!r}", first=missing.args[0]),
            remedy="Choose HunyuanVideo's VAE, such as hunyuan_video_vae_bf16.safetensors",
        ) from None


def _load(checkpoint: Checkpoint, config: dict[str, Any]) -> Network:
    from diffusers import AutoencoderKLHunyuanVideo

    state: dict[str, Tensor] = {}
    for stored, tensor in checkpoint.tensors().items():
        name = vae_to_diffusers(stored.removeprefix("vae."))
        # ComfyUI's attention multiplies with convolutions of one pixel.
        is_linear = ".attentions." in name and name.endswith("weight") and tensor.ndim > 2
        state[name] = tensor.flatten(1) if is_linear else tensor
    module: Any = build_module(lambda: AutoencoderKLHunyuanVideo.from_config(config), state, checkpoint.path)
    module.enable_tiling()  # as its authors do: a whole clip of 720p takes more memory than there is
    return Network(module, {name: torch.float32 for name, _ in module.named_parameters()})
