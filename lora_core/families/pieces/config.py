"""The configurations of what models are made of, inferred from the shapes of a checkpoint's tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from typing import Any, Literal

from ...errors import ModelError
from ...wording import said
from .latents import LATENT_MEAN, LATENT_STD

Shapes = Mapping[str, tuple[int, ...]]
T5Kind = Literal["t5", "umt5"]


def stated_config(metadata: Mapping[str, str], where: object) -> dict[str, Any]:
    """Return the object in the metadata entry "config", empty when there is none."""
    try:
        stated = json.loads(metadata.get("config", "{}"))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            where, said("its metadata entry 'config' is no JSON: {error}", error=error), remedy="Download it again"
        ) from error
    if not isinstance(stated, dict):
        raise ModelError(
            where,
            said("its metadata entry 'config' is a {name}", name=type(stated).__name__),
            expected="a JSON object",
            remedy="Download it again",
        )
    return stated


def vae_config(shapes: Shapes, where: object) -> dict[str, Any]:
    """Return the arguments of `AutoencoderKLWan` for native tensor names and shapes, Wan 2.1's layout or 2.2's."""
    try:
        nested = "encoder.downsamples.0.downsamples.0.residual.2.weight" in shapes
        z_dim = shapes["conv2.weight"][0]
        base_dim, in_channels = shapes["encoder.conv1.weight"][:2]
        step = 1 if nested else 3
        inside = ".downsamples.0" if nested else ""
        widths = [shapes[f"encoder.downsamples.{n * step}{inside}.residual.2.weight"][0] for n in range(4)]
        resampler = "encoder.downsamples.{}.downsamples.2" if nested else "encoder.downsamples.{}"
        numbers = (0, 1, 2) if nested else (2, 5, 8)
        config: dict[str, Any] = {
            "base_dim": base_dim,
            "decoder_base_dim": shapes["decoder.head.0.gamma"][0],
            "z_dim": z_dim,
            "dim_mult": [width // base_dim for width in widths],
            "temperal_downsample": [f"{resampler.format(n)}.time_conv.weight" in shapes for n in numbers],
            "is_residual": nested,
            "in_channels": in_channels,
            "out_channels": shapes["decoder.head.2.weight"][0],
        }
    except KeyError as missing:
        raise ModelError(
            where,
            said("is no Wan VAE: it has no tensor {first!r}", first=missing.args[0]),
            remedy="Choose a VAE of Wan",
        ) from None
    if z_dim not in LATENT_MEAN:
        raise ModelError(
            where,
            said("a VAE with {z_dim} latent channels", z_dim=z_dim),
            expected="Wan's 16 or 48",
            remedy="Choose a VAE of Wan",
        )
    config |= {"latents_mean": list(LATENT_MEAN[z_dim]), "latents_std": list(LATENT_STD[z_dim])}
    return config | ({"patch_size": 2, "scale_factor_spatial": 16} if nested else {})


def t5_kind(names: Container[str]) -> T5Kind:
    """Say which T5 has these tensors: UMT5 has a position bias in every block, T5 in the first alone."""
    one_block = "encoder.block.1.layer.0.SelfAttention.q.weight" not in names
    return "umt5" if one_block or _SECOND_BIAS in names else "t5"


def t5_config(shapes: Shapes, stated: Mapping[str, Any], kind: T5Kind | None, where: object) -> dict[str, Any]:
    """Return the arguments of `T5Config` or `UMT5Config` for Hugging Face's tensor names.

    `stated` adds what shapes cannot tell; `kind` is what it must be, None where either will do.
    """
    block = "encoder.block.0.layer"
    is_gated = f"{block}.1.DenseReluDense.wi.weight" not in shapes
    try:
        num_buckets, num_heads = shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"]
        config: dict[str, Any] = {
            "vocab_size": shapes["shared.weight"][0],
            "d_model": shapes["shared.weight"][1],
            "d_kv": shapes[f"{block}.0.SelfAttention.q.weight"][0] // num_heads,
            "d_ff": shapes[f"{block}.1.DenseReluDense.{'wi_0' if is_gated else 'wi'}.weight"][0],
            "num_heads": num_heads,
            "num_layers": len({found[1] for name in shapes if (found := re.match(r"encoder\.block\.(\d+)\.", name))}),
            "relative_attention_num_buckets": num_buckets,
            "feed_forward_proj": "gated-gelu" if is_gated else "relu",
        }
    except KeyError as missing:
        name = "umt5" if kind == "umt5" else "oldt5"
        remedy = said(
            "Use ComfyUI's {name}_xxl_*.safetensors or the text_encoder folder of a diffusers model", name=name
        )
        what = said(
            "is no {kind} text encoder: it has no tensor {first!r}", kind=(kind or "t5").upper(), first=missing.args[0]
        )
        raise ModelError(where, what, remedy=remedy) from None
    if kind == "umt5" and t5_kind(shapes) == "t5":
        raise ModelError(
            where,
            "is a T5 text encoder",
            expected="UMT5, which has a position bias in every block",
            remedy="Choose a UMT5 text encoder",
        )
    return {**{key: value for key, value in stated.items() if key in _T5_STATED}, **config}


#: The tensor that UMT5 has and T5 lacks.
_SECOND_BIAS = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
#: What shapes cannot tell, taken from the file's metadata or the folder's `config.json`.
_T5_STATED = ("relative_attention_max_distance", "layer_norm_epsilon", "pad_token_id", "eos_token_id")
