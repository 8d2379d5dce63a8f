"""Wan 2.1's image encoder, the vision half of CLIP: a picture to features that the image models attend to.

Letters: P patches, L tokens (1 + P), D width, S the encoder's picture size in pixels.
Dtype policy: the encoder computes in float32 whatever the experts compute in; it looks at a picture once.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint, open_checkpoint, read_json_file
from ...checkpoints.residency import Network, Piece, Residence
from ...errors import ModelError
from ..pieces.config import stated_config
from .config import image_encoder_config, no_image_encoder
from .image_encoder_names import encoder_name, encoder_prefix

#: CLIP's mean and deviation of red, green and blue in [0, 1] (openai/CLIP, `clip/clip.py`).
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoder:
    """The eye of an image model; the network itself is opened at the first picture."""

    def __init__(self, piece: Piece, config: Mapping[str, Any]) -> None:
        self.width: int = config["hidden_size"]
        self.size: int = config["image_size"]
        self.num_tokens: int = 1 + (config["image_size"] // config["patch_size"]) ** 2
        self.piece = piece

    def encode(self, picture: Image.Image) -> Tensor:
        """Return features (1, L, D), (1, 257, 1280) for ViT-H/14, of a picture of any size.

        They are the last layer's input, not its output, as in diffusers' `WanImageToVideoPipeline.encode_image`.
        """
        network: Any = self.piece.use()
        pixels = clip_pixels(picture, self.size).to(self.piece.residence.device)
        with torch.no_grad():
            return network(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


def clip_pixels(picture: Image.Image, size: int) -> Tensor:
    """Return a picture as CLIP was trained on them, (1, 3, S, S): shortest edge scaled to S, cut around the centre."""
    picture = picture.convert("RGB")
    shortest = min(picture.size)
    width, height = (size * edge // shortest for edge in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(scaled, dtype=np.float32)) / 255
    return ((pixels - torch.tensor(_MEAN)) / torch.tensor(_STD)).permute(2, 0, 1)[None]


def open_image_encoder(path: Path, residence: Residence) -> ImageEncoder:
    """Read the headers of a CLIP vision encoder, single file in any of three namings or folder."""
    checkpoint = open_checkpoint(path)
    if checkpoint.is_gguf:
        raise ModelError(
            path,
            "is a GGUF file",
            expected="a CLIP vision encoder as .safetensors or .pth",
            remedy="Choose another file",
        )
    prefix = encoder_prefix(checkpoint.shapes)
    if prefix is None:
        first = ", ".join(list(checkpoint.shapes)[:2])
        raise no_image_encoder(path, f"its tensors are named {first}, …")
    config = _config(checkpoint, prefix)
    return ImageEncoder(residence.add(lambda: _load(checkpoint, config, prefix)), config)


def _config(checkpoint: Checkpoint, prefix: str) -> dict[str, Any]:
    file = checkpoint.path / "config.json"
    stated = read_json_file(file) if file.is_file() else stated_config(checkpoint.metadata, checkpoint.path)
    headers = {name: torch.empty(shape, device="meta") for name, shape in checkpoint.shapes.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in _named_as_transformers(headers, prefix).items()}
    return image_encoder_config(shapes, stated, checkpoint.path)


def _load(checkpoint: Checkpoint, config: Mapping[str, Any], prefix: str) -> Network:
    from accelerate import init_empty_weights
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with init_empty_weights(include_buffers=False):
        module = CLIPVisionModel(CLIPVisionConfig(**config))
    # transformers 4 keeps the whole encoder one level down.
    encoder = getattr(module, "vision_model", module)
    build_module(lambda: encoder, _named_as_transformers(checkpoint.tensors(), prefix), checkpoint.path)
    return Network(module, {name: torch.float32 for name, _ in module.named_parameters()})


def _named_as_transformers(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the encoder's parameters, stacked ones taken apart, without the axes of 1 that Wan's own puts first."""
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        names = encoder_name(name, prefix)
        whole = tensor.reshape(tuple(itertools.dropwhile(lambda n: n == 1, tensor.shape)))
        parts = whole.chunk(len(names)) if len(names) > 1 else (whole,)
        state.update(zip(names, parts, strict=False))  # a part too few is reported as missing
    return state
