"""Cosmos transformers as diffusers modules, from NVIDIA's `.pt`, native or diffusers-named checkpoints, 8-bit ones too.

Dtype policy: parameters compute in the dtype asked for; 8-bit block weights stay packed and are widened when their
layer runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.fp8 import describes_quantisation, place_fp8_layers, split_fp8
from ...checkpoints.residency import Network
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from .names import to_diffusers, to_native
from .spec import MASK_CHANNELS, checkpoint_prefix, infer_cosmos_spec, parameters_behind

#: Relatives of Cosmos that have networks of their own: what their tensor names begin with, and what they are.
_RELATIVES: tuple[tuple[str, str], ...] = (
    ("crossattn_proj", "Cosmos Predict2.5"),
    ("llm_adapter", "Anima"),
    ("extra_pos_embedder", "Cosmos 1.0"),
    ("learnable_pos_embed", "Cosmos 1.0"),
    ("img_context_proj", "Cosmos Transfer2.5"),
)
_REMEDY = "Choose a Cosmos Predict2 Video2World model"


def transformer_spec(checkpoint: Checkpoint) -> ModelSpec:
    """Return the spec of a checkpoint, refusing what is no Cosmos Predict2 Video2World, relatives by their names."""
    names = {name: shape for name, shape in checkpoint.shapes.items() if not describes_quantisation(name)}
    if checkpoint_prefix(names) is None:
        first = ", ".join(list(names)[:2])
        raise ModelError(
            checkpoint.path,
            said("is no Cosmos transformer, its tensors are named {first}, …", first=first),
            expected="net.blocks.0.self_attn.q_proj.weight or transformer_blocks.0.attn1.to_q.weight, …",
            remedy=_REMEDY,
        )
    spec = infer_cosmos_spec(names, where=checkpoint.path)
    for target in spec.shapes:
        for start, relative in _RELATIVES:
            if target.startswith(start):
                raise ModelError(
                    checkpoint.path,
                    said("is a {relative} model, which cannot be opened yet", relative=relative),
                    remedy=_REMEDY,
                )
    _check_channels(checkpoint, spec)
    return spec


def _check_channels(checkpoint: Checkpoint, spec: ModelSpec) -> None:
    """Refuse a network without the mask of known frames, as Text2Image has it, and GGUF."""
    num_channels = spec.shapes["x_embedder.proj.1"][1] // 4
    wanted = spec.latent_channels + MASK_CHANNELS
    if num_channels != wanted:
        raise ModelError(
            checkpoint.path,
            said("its network takes {num_channels} channels", num_channels=num_channels),
            expected=said("{wanted}: latents, the mask of known frames, the padding mask", wanted=wanted),
            remedy=_REMEDY,
        )
    if checkpoint.is_gguf:
        raise ModelError(
            checkpoint.path,
            "GGUF files of Cosmos cannot be opened",
            expected=".safetensors or .pt",
            remedy="Choose another file of the model",
        )


def load_transformer(checkpoint: Checkpoint, config: Mapping[str, Any], dtype: torch.dtype) -> Network:
    """Read a transformer; its tensors stay memory-mapped until they are placed."""
    from diffusers import CosmosTransformer3DModel

    prefix = checkpoint_prefix(checkpoint.shapes) or ""
    tensors = parameters_behind(prefix, checkpoint.tensors())
    split = split_fp8(tensors, checkpoint.metadata, checkpoint.path, keep=_stays_8_bit, prefix=prefix)
    layers = {_diffusers_name(f"{path}.weight").removesuffix(".weight"): layer for path, layer in split.layers.items()}
    state = {_diffusers_name(name): tensor for name, tensor in split.tensors.items()}
    whole = state | {f"{path}.weight": weight for path, (weight, _) in layers.items()}
    module = build_module(lambda: CosmosTransformer3DModel.from_config(dict(config)), whole, checkpoint.path)
    place_fp8_layers(module, layers)
    packed = {f"{path}.weight" for path in layers}
    return Network(module, {name: dtype for name, _ in module.named_parameters() if name not in packed})


def _stays_8_bit(name: str, tensor: Tensor) -> bool:
    """Keep the blocks' linear weights 8-bit: nearly all the bytes, and layers that nobody asks for their dtype."""
    return name.startswith(("blocks.", "transformer_blocks.")) and name.endswith(".weight") and tensor.ndim == 2


def _diffusers_name(name: str) -> str:
    """Return diffusers' name of a native or diffusers parameter name; unknown names stay, to be reported."""
    return name if to_native(name) else to_diffusers(name) or name
