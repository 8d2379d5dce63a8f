"""ComfyUI's own loaders, as the parts of a Wan model are opened with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from safetensors import SafetensorError

from ..lora_core import ModelError
from ..lora_core.checks import first_line
from ..lora_core.wording import said

#: Choice of weight dtype -> what core's loader takes for it, as in its UNETLoader.
WEIGHT_DTYPES: dict[str, dict[str, object]] = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


def load_expert(path: Path, weight_dtype: str) -> ModelPatcher:
    """Open one expert as core's UNETLoader does."""
    with _opening(path, "a Wan transformer as one file"):
        return comfy.sd.load_diffusion_model(str(path), model_options=dict(WEIGHT_DTYPES[weight_dtype]))


def load_clip(path: Path) -> comfy.sd.CLIP:
    """Open a UMT5 text encoder as core's CLIPLoader does with type wan."""
    embeddings = folder_paths.get_folder_paths("embeddings")
    expected = "a UMT5-XXL text encoder, such as umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    with _opening(path, expected):
        clip = comfy.sd.load_clip([str(path)], embedding_directory=embeddings, clip_type=comfy.sd.CLIPType.WAN)
    if "umt5xxl" not in clip.tokenize(""):  # ComfyUI takes any file for some text encoder
        raise ModelError(path.name, "is no UMT5 text encoder", expected=expected, remedy="Choose another file")
    return clip


def load_vae(path: Path) -> comfy.sd.VAE:
    """Open a VAE as core's VAELoader does."""
    with _opening(path, "a Wan VAE, such as wan_2.1_vae.safetensors"):
        weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
        vae = comfy.sd.VAE(sd=weights, metadata=metadata)
        vae.throw_exception_if_invalid()
        if hasattr(comfy.sd, "load_vae_patcher"):  # older hosts neither copy a VAE nor remember where it is from
            vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (str(path), metadata, None))
        return vae


@contextmanager
def _opening(path: Path, expected: str) -> Iterator[None]:
    """Say of a file that ComfyUI cannot open which one it is, and what it should be."""
    try:
        yield
    except comfy.model_management.OOM_EXCEPTION:
        raise
    except (RuntimeError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        remedy = "Choose another file; if this one was downloaded, compare its size with the original's"
        raise ModelError(
            path.name,
            said("ComfyUI cannot open it: {error}", error=first_line(error)),
            expected=expected,
            remedy=remedy,
        ) from error
