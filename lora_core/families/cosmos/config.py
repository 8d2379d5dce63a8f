"""The configuration of diffusers' class for a Cosmos, from what a folder states or from the shapes of its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from ..pieces.config import stated_config

if TYPE_CHECKING:
    from torch import nn

#: Width of a published transformer -> how its rotary positions are scaled, over frames, rows and columns; NVIDIA's
#: `rope_{t,h,w}_extrapolation_ratio`. Others state theirs in the file's metadata, or have those of the 2B.
_ROPE_SCALES: Mapping[int, tuple[float, float, float]] = {2048: (1.0, 3.0, 3.0), 5120: (20 / 24, 2.0, 2.0)}
_USUAL_ROPE = _ROPE_SCALES[2048]


def transformer_config(
    spec: ModelSpec, written: Mapping[str, Any] | None, metadata: Mapping[str, str], where: object
) -> dict[str, Any]:
    """Return the arguments of `CosmosTransformer3DModel` for a checkpoint described by `spec`.

    The padding mask counts as one more input channel, and the network is not asked to make it: to do so diffusers'
    class needs torchvision, to scale zeros. `written` is a diffusers folder's `config.json`; `metadata["config"]` of a
    single file may hold {"transformer": {"rope_scale": [...]}} as JSON.
    """
    shapes = spec.shapes
    width, num_values = shapes["x_embedder.proj.1"]
    head_width = shapes["blocks.0.self_attn.q_norm"][0]
    stated = written if written is not None else stated_config(metadata, where).get("transformer") or {}
    return {
        "in_channels": num_values // 4,
        "out_channels": spec.latent_channels,
        "num_attention_heads": width // head_width,
        "attention_head_dim": head_width,
        "num_layers": spec.num_blocks,
        "mlp_ratio": shapes["blocks.0.mlp.layer1"][0] / width,
        "text_embed_dim": spec.text_width,
        "adaln_lora_dim": shapes["blocks.0.adaln_modulation_self_attn.1"][0],
        "patch_size": spec.patch_size,
        "rope_scale": _rope_scale(width, stated, where),
        "concat_padding_mask": False,
        "extra_pos_embed_type": None,
    }


def _rope_scale(width: int, stated: Mapping[str, Any], where: object) -> tuple[float, float, float]:
    scale = stated.get("rope_scale", _ROPE_SCALES.get(width, _USUAL_ROPE))
    if not isinstance(scale, list | tuple) or [type(number) in (int, float) for number in scale] != [True] * 3:
        raise ModelError(
            where,
            said("its rope_scale is {scale!r:.60}", scale=scale),
            expected="three numbers",
            remedy="Download it again",
        )
    frames, rows, columns = scale
    return frames, rows, columns


def stating_metadata(network: nn.Module) -> dict[str, str]:
    """Return the metadata that tell `transformer_config` what it cannot read off the shapes."""
    config: Any = network.config
    return {"config": json.dumps({"transformer": {"rope_scale": list(config["rope_scale"])}})}
