"""Export of the pocket assets: single files in Wan's own naming, half precision, readable by ComfyUI and `open_wan`."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from ..atomic import replacing
from ..deltas import Delta, Lora
from ..experts import Expert
from ..families.wan.config import stating_metadata
from ..families.wan.names import to_native
from ..families.wan.vae_names import vae_to_native
from ..files.weights import LoraWeights
from ..files.write import write_lora
from .train_loras import LoraTensors


def write_expert(expert: WanTransformer3DModel, path: Path) -> None:
    """Write one expert with the metadata that tell loaders what shapes cannot."""
    _write(expert.state_dict(), to_native, path, stating_metadata(expert))


def write_vae(vae: AutoencoderKLWan, path: Path) -> None:
    """Write the VAE."""
    _write(vae.state_dict(), vae_to_native, path, {})


def write_text(tokenizer: PreTrainedTokenizerFast, encoder: UMT5EncoderModel, paths: tuple[Path, Path]) -> None:
    """Write the text encoder in Hugging Face's UMT5 naming and, beside it, its tokenizer.json."""
    encoder_path, tokenizer_path = paths
    state = {name: tensor for name, tensor in encoder.state_dict().items() if name != "encoder.embed_tokens.weight"}
    _write(state, lambda name: name, encoder_path, {"config": encoder.config.to_json_string(use_diff=False)})
    tokenizer.backend_tokenizer.save(str(tokenizer_path))


def write_lora_file(tensors: LoraTensors, path: Path, expert: Expert, metadata: Mapping[str, str]) -> None:
    """Write one expert's LoRA in the dialect that ComfyUI's users share."""
    deltas: dict[str, Delta] = {}
    for name, down in tensors.items():
        if name.endswith(".lora_A.weight"):
            module = name.removesuffix(".lora_A.weight")
            target = _native(to_native, f"{module}.weight").removesuffix(".weight")
            deltas[target] = Lora(_half(down), _half(tensors[f"{module}.lora_B.weight"]))
    write_lora(LoraWeights(path, path.stem, deltas, metadata=metadata, expert=expert), path)


def _write(
    state: Mapping[str, Tensor], rename: Callable[[str], str | None], path: Path, metadata: Mapping[str, str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {_native(rename, name): _half(tensor) for name, tensor in state.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", **metadata})


def _native(rename: Callable[[str], str | None], name: str) -> str:
    native = rename(name)
    assert native is not None, f"{name} is not in the table of names"
    return native


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float16).contiguous()
