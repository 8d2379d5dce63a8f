"""The configurations of diffusers' and transformers' classes, inferred from the shapes of a checkpoint's tensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from ..pieces.config import stated_config

if TYPE_CHECKING:
    from torch import nn

#: Every published Wan transformer has heads of this width; others state their head count in the file's metadata.
_HEAD_WIDTH = 128
#: The same of the CLIP vision encoder that Wan 2.1 looks through, ViT-H/14.
_IMAGE_HEAD_WIDTH = 80

Shapes = Mapping[str, tuple[int, ...]]


def transformer_config(spec: ModelSpec, metadata: Mapping[str, str], where: object) -> dict[str, Any]:
    """Return the arguments of `WanTransformer3DModel` for a checkpoint described by `spec`.

    `metadata["config"]`, the entry ComfyUI reads too, may hold {"transformer": {"num_heads": ...}} as JSON.
    """
    shapes = spec.shapes
    width, in_channels, *patch_size = shapes["patch_embedding"]
    blocks = {int(found[1]) for name in shapes if (found := re.match(r"blocks\.(\d+)\.", name))}
    num_heads = _num_heads(width, metadata, where)
    has_image_branch = "blocks.0.cross_attn.k_img" in shapes
    return {
        "patch_size": tuple(patch_size),
        "num_attention_heads": num_heads,
        "attention_head_dim": width // num_heads,
        "in_channels": in_channels,
        "out_channels": spec.latent_channels,
        "text_dim": shapes["text_embedding.0"][1],
        "freq_dim": shapes["time_embedding.0"][1],
        "ffn_dim": shapes["blocks.0.ffn.0"][0],
        "num_layers": len(blocks),
        "cross_attn_norm": "blocks.0.norm3" in shapes,
        "image_dim": shapes["img_emb.proj.0"][0] if has_image_branch else None,
        "added_kv_proj_dim": width if has_image_branch else None,
        "pos_embed_seq_len": shapes["img_emb.emb_pos"][1] if "img_emb.emb_pos" in shapes else None,
    }


def _num_heads(width: int, metadata: Mapping[str, str], where: object) -> int:
    transformer = stated_config(metadata, where).get("transformer")
    stated = transformer.get("num_heads") if isinstance(transformer, dict) else None
    num_heads = stated if isinstance(stated, int) and stated > 0 else width // _HEAD_WIDTH
    if not num_heads or width % num_heads:
        what = said(
            "a width of {width} does not divide into {num_heads}",
            width=width,
            num_heads=num_heads or f"heads of {_HEAD_WIDTH}",
        )
        remedy = (
            'State the head count in the file\'s metadata, as {"config": "{\\"transformer\\": {\\"num_heads\\": 4}}"}'
        )
        raise ModelError(where, what, remedy=remedy)
    return num_heads


def stating_metadata(network: nn.Module) -> dict[str, str]:
    """Return the metadata that tell `transformer_config`, and ComfyUI, what they cannot read off the shapes."""
    config: Any = network.config
    stated = {"num_heads": config["num_attention_heads"], "text_dim": config["text_dim"]}
    return {"config": json.dumps({"transformer": stated})}


def image_encoder_config(shapes: Shapes, stated: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Return the arguments of `CLIPVisionConfig` for transformers' names; `stated` adds what shapes cannot tell."""
    try:
        width = shapes["embeddings.class_embedding"][-1]
        num_channels, patch_size = shapes["embeddings.patch_embedding.weight"][1:3]
        num_positions = shapes["embeddings.position_embedding.weight"][0]
        inner_width = shapes["encoder.layers.0.mlp.fc1.weight"][0]
    except KeyError as missing:
        raise no_image_encoder(where, f"it has no tensor {missing.args[0]!r}") from None
    config = _IMAGE_ENCODER_DEFAULTS | {key: stated[key] for key in _IMAGE_ENCODER_STATED if key in stated}
    num_heads = config.setdefault("num_attention_heads", width // _IMAGE_HEAD_WIDTH)
    if not isinstance(num_heads, int) or num_heads < 1 or width % num_heads:
        what = said(
            "a CLIP vision encoder of width {width} does not divide into {num_heads} heads",
            width=width,
            num_heads=num_heads,
        )
        remedy = 'State the head count in the file\'s metadata, as {"config": "{\\"num_attention_heads\\": 16}"}'
        raise ModelError(where, what, remedy=remedy)
    if config["hidden_act"] not in _ACTIVATIONS:
        raise ModelError(
            where,
            said("its activation is {hidden_act!r}", hidden_act=config["hidden_act"]),
            expected=" or ".join(_ACTIVATIONS),
            remedy="Choose another file",
        )
    layers = {found[1] for name in shapes if (found := re.match(r"encoder\.layers\.(\d+)\.", name))}
    return config | {
        "hidden_size": width,
        "intermediate_size": inner_width,
        "num_hidden_layers": len(layers),
        "num_channels": num_channels,
        "patch_size": patch_size,
        "image_size": patch_size * math.isqrt(num_positions - 1),
    }


def no_image_encoder(where: object, why: str) -> ModelError:
    """Return the error for a file that is something else."""
    expected = "such as vision_model.embeddings.class_embedding, or the same in open_clip's or Wan's naming"
    remedy = "Use ComfyUI's clip_vision_h.safetensors or the image_encoder folder of a diffusers model"
    return ModelError(where, said("is no CLIP vision encoder: {why}", why=why), expected=expected, remedy=remedy)


#: What shapes cannot tell, as ViT-H/14 has it; and what of it a file's metadata or a folder's `config.json` may state.
_IMAGE_ENCODER_DEFAULTS: dict[str, Any] = {"hidden_act": "gelu", "layer_norm_eps": 1e-5}
_IMAGE_ENCODER_STATED = ("num_attention_heads", "hidden_act", "layer_norm_eps")
_ACTIVATIONS = ("gelu", "quick_gelu")
