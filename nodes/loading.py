"""The opening of a Wan model's files through ComfyUI's own loaders."""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher

from ..lora_core import ModelError

#: Choice of weight dtype -> what core's loader takes for it, as in its UNETLoader.
WEIGHT_DTYPES: dict[str, dict[str, object]] = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


def load_expert(path: Path, weight_dtype: str) -> ModelPatcher:
    """Open one expert as core's UNETLoader does."""
    try:
        return comfy.sd.load_diffusion_model(str(path), model_options=dict(WEIGHT_DTYPES[weight_dtype]))
    except RuntimeError as error:
        expected = "a Wan transformer as one file"
        raise ModelError(path.name, f"ComfyUI cannot open it: {error}", expected=expected) from error


def load_clip(path: Path) -> comfy.sd.CLIP:
    """Open a UMT5 text encoder as core's CLIPLoader does with type wan."""
    embeddings = folder_paths.get_folder_paths("embeddings")
    return comfy.sd.load_clip([str(path)], embedding_directory=embeddings, clip_type=comfy.sd.CLIPType.WAN)


def load_vae(path: Path) -> comfy.sd.VAE:
    """Open a VAE as core's VAELoader does."""
    weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=weights, metadata=metadata)
    vae.throw_exception_if_invalid()
    return vae
