"""The files of the pocket models: single files in their authors' naming, readable by ComfyUI and the families."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from ..atomic import replacing
from ..deltas import Lora
from ..families.pieces.vae_names import vae_to_native
from ..families.registry import family_of, spec_of_module
from ..files.read import read_lora
from ..files.weights import LoraWeights
from ..files.write import write_lora


def write_expert(expert: nn.Module, path: Path) -> None:
    """Write an expert of any family in float32, with the metadata that tell loaders what shapes cannot."""
    spec = spec_of_module(expert)

    def canonical(name: str) -> str | None:
        path, _, leaf = name.rpartition(".")
        found = spec.find(path)
        return spec.find(name) if found is None else f"{found}.{leaf}"

    _write(_renamed(expert.state_dict(), canonical), path, family_of(spec).header(expert))


def write_vae(vae: AutoencoderKLWan, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the VAE in half precision."""
    _write(_halved(_renamed(vae.state_dict(), vae_to_native)), path, metadata)


def write_text(tokenizer: PreTrainedTokenizerFast, encoder: UMT5EncoderModel, paths: tuple[Path, Path]) -> None:
    """Write the text encoder in half precision under Hugging Face's UMT5 names, and beside it its tokenizer.json."""
    encoder_path, tokenizer_path = paths
    state = {name: tensor for name, tensor in encoder.state_dict().items() if name != "encoder.embed_tokens.weight"}
    _write(_halved(state), encoder_path, {"config": encoder.config.to_json_string(use_diff=False)})
    tokenizer.backend_tokenizer.save(str(tokenizer_path))


def ship_expert(trained: Path, path: Path) -> None:
    """Copy a trained expert in half precision, with what loaders need of its metadata."""
    with safe_open(trained, framework="pt") as file:
        stated = {"config": file.metadata()["config"]}
    _write(_halved(load_file(trained)), path, stated)


def ship_lora(trained: Path, path: Path, metadata: Mapping[str, str]) -> None:
    """Copy a trained LoRA in half precision, with other metadata."""
    read = read_lora(trained)
    deltas = {}
    for target, delta in read.deltas.items():
        assert isinstance(delta, Lora), f"{trained}: {target} is no plain LoRA"
        deltas[target] = Lora(_half(delta.down), _half(delta.up), scale=delta.scale)
    write_lora(LoraWeights(path, path.stem, deltas, metadata=metadata, expert=read.expert), path)


def ship_post_trained(base: Path, lora: Path, path: Path) -> None:
    """Write a base of one network and a trained LoRA as NVIDIA's post-training of Cosmos leaves them.

    One pickle of the base, here in half precision, with each layer that has a LoRA as `.base_layer` beside its
    `lora_A` and `lora_B` in float32; neither rank nor alpha is said, which so have to be equal.
    """
    state = {f"net.{name}": tensor for name, tensor in _halved(load_file(base)).items()}
    for target, delta in read_lora(lora).deltas.items():
        assert isinstance(delta, Lora), f"{lora}: {target} is no plain LoRA"
        assert delta.scale == 1, f"{lora}: its alpha is not its rank"
        state[f"net.{target}.base_layer.weight"] = state.pop(f"net.{target}.weight")
        state[f"net.{target}.lora_A.default.weight"] = delta.down.float().contiguous()
        state[f"net.{target}.lora_B.default.weight"] = delta.up.float().contiguous()
    with replacing(path) as temporary:
        torch.save(state, temporary)


def _write(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt", **metadata})


def _renamed(state: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        native = rename(name)
        assert native is not None, f"{name} is not in the table of names"
        renamed[native] = tensor.detach().contiguous()
    return renamed


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _half(tensor) for name, tensor in state.items()}


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float16).contiguous()
