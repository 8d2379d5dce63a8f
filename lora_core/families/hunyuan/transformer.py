"""HunyuanVideo transformers as diffusers modules, from checkpoints in any naming, 8-bit ones too.

Dtype policy: parameters compute in the dtype asked for; 8-bit block weights stay packed and are widened when their
layer runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint, read_json_file
from ...checkpoints.fp8 import describes_quantisation, place_fp8_layers, split_fp8
from ...checkpoints.residency import Network
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from .names import LAST_MODULATION, SCALE_SHIFT, module_to_diffusers
from .sources import not_opened
from .spec import canonical_target, checkpoint_prefix, in_parts, infer_hunyuan_spec, relative_of_names

#: The axes of the rotary embedding, frames, rows and columns, of a head of the published width 128.
_ROPE_AXES = (16, 56, 56)
_ROPE_THETA = 256.0


def transformer_spec(checkpoint: Checkpoint) -> ModelSpec:
    """Return the spec of a checkpoint as it will be opened; what is no HunyuanVideo 1.0 T2V is refused by name."""
    if checkpoint.is_gguf:
        raise ModelError(
            checkpoint.path, "is a GGUF file", expected="HunyuanVideo as .safetensors", remedy="Choose another file"
        )
    shapes = {name: shape for name, shape in checkpoint.shapes.items() if not describes_quantisation(name)}
    if relative := relative_of_names(shapes):
        raise not_opened(checkpoint.path, relative)
    spec = in_parts(infer_hunyuan_spec(shapes, where=checkpoint.path))
    stated = stated_config(checkpoint)
    if spec.image_conditioned or stated.get("image_condition_type"):
        raise not_opened(checkpoint.path, "HunyuanVideo I2V")
    return spec


def stated_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what diffusers wrote beside the weights, or what the file's metadata state of its transformer."""
    file = checkpoint.path / "config.json"
    if file.is_file():
        config = read_json_file(file)
        if "quantization_config" in config:
            what, expected = "its weights were quantised by diffusers", "weights as published, or an 8-bit single file"
            raise ModelError(checkpoint.path, what, expected=expected, remedy="Choose another file of the model")
        return {name: value for name, value in config.items() if not name.startswith("_")}
    try:
        stated = json.loads(checkpoint.metadata.get("config", "{}")).get("transformer", {})
    except (ValueError, AttributeError) as error:
        what = said("its metadata entry 'config' is no JSON: {error}", error=error)
        raise ModelError(checkpoint.path, what, remedy="Download it again") from error
    return stated if isinstance(stated, dict) else {}


def transformer_config(spec: ModelSpec, stated: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Return the arguments of `HunyuanVideoTransformer3DModel`; shapes tell all but the axes of its positions."""
    shapes = spec.shapes
    width, in_channels, *patch = shapes["img_in.proj"]
    head = shapes["double_blocks.0.img_attn.norm.query_norm"][0]
    axes = tuple(stated.get("rope_axes_dim", _ROPE_AXES))
    if width % head or sum(axes) != head:
        what = said("heads of width {head}, and axes of its positions of {axes}", head=head, axes=list(axes))
        expected = said("axes that make up a head, such as {axes}", axes=list(_ROPE_AXES))
        remedy = 'State rope_axes_dim in the file\'s metadata, as {"config": "{\\"transformer\\": {…}}"}'
        raise ModelError(where, what, expected=expected, remedy=remedy)

    def count(stem: str) -> int:
        return len({target.split(stem)[1].split(".")[0] for target in shapes if target.startswith(stem)})

    return {
        "in_channels": in_channels,
        "out_channels": spec.latent_channels,
        "num_attention_heads": width // head,
        "attention_head_dim": head,
        "num_layers": count("double_blocks."),
        "num_single_layers": count("single_blocks."),
        "num_refiner_layers": count("txt_in.individual_token_refiner.blocks."),
        "mlp_ratio": shapes["double_blocks.0.img_mlp.0"][0] / width,
        "patch_size": patch[-1],
        "patch_size_t": patch[0],
        "guidance_embeds": "guidance_in.in_layer" in shapes,
        "text_embed_dim": shapes["txt_in.input_embedder"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer"][1],
        "rope_theta": stated.get("rope_theta", _ROPE_THETA),
        "rope_axes_dim": axes,
    }


def load_transformer(checkpoint: Checkpoint, spec: ModelSpec, dtype: torch.dtype) -> Network:
    """Read a transformer; its tensors stay memory-mapped until they are placed."""
    from diffusers import HunyuanVideoTransformer3DModel

    config = transformer_config(spec, stated_config(checkpoint), checkpoint.path)
    prefix = checkpoint_prefix(checkpoint.shapes) or ""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors().items()}
    split = split_fp8(tensors, checkpoint.metadata, checkpoint.path, keep=_stays_8_bit, prefix=prefix)
    state = in_diffusers_names(split.tensors, spec)
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    for path, (weight, scale) in split.layers.items():
        parts = in_diffusers_names({f"{path}.weight": weight}, spec)
        scales = scale.split([len(part) for part in parts.values()]) if scale.numel() > 1 else [scale] * len(parts)
        for (name, part), own in zip(parts.items(), scales, strict=True):
            layers[name.removesuffix(".weight")] = (part, own)
    whole = state | {f"{path}.weight": weight for path, (weight, _) in layers.items()}
    module = build_module(lambda: HunyuanVideoTransformer3DModel.from_config(config), whole, checkpoint.path)
    place_fp8_layers(module, layers)
    packed = {f"{path}.weight" for path in layers}
    return Network(module, {name: dtype for name, _ in module.named_parameters() if name not in packed})


def in_diffusers_names(tensors: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """Return the same parameters as diffusers has them: fused ones in parts, the last modulation's halves exchanged."""
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        target = canonical_target(name)
        path = target.removesuffix(".bias")
        leaf = ".bias" if target.endswith(".bias") else ".weight"
        if path == LAST_MODULATION:
            shift, scale = tensor.chunk(2)
            state[module_to_diffusers(SCALE_SHIFT) + leaf] = torch.cat([scale, shift])
            continue
        parts = spec.parts_of(target) if path in spec.fused and path != SCALE_SHIFT else (target,)
        sizes = [spec.shapes[part][0] for part in parts if part in spec.shapes]
        pieces = tensor.split(sizes) if len(parts) > 1 and sum(sizes) == len(tensor) else (tensor,) * len(parts)
        names = (module_to_diffusers(part.removesuffix(".bias")) + leaf for part in parts)
        state.update(zip(names, pieces, strict=True))
    return state


def _stays_8_bit(name: str, tensor: Tensor) -> bool:
    """Keep the blocks' linear weights 8-bit: nearly all the bytes, and layers that nobody asks for their dtype."""
    return name.startswith(("double_blocks.", "single_blocks.")) and name.endswith(".weight") and tensor.ndim == 2
