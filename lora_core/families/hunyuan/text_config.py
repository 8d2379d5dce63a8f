"""The configurations of Llama and CLIP-L, inferred from a checkpoint's shapes and what is stated of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...errors import ModelError
from ...wording import said

Shapes = Mapping[str, tuple[int, ...]]

#: What shapes cannot tell, as the published encoders have it, and what a folder's `config.json` may state otherwise.
_LLAMA_USUAL: dict[str, Any] = {"head_dim": 128, "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "hidden_act": "silu"}
_CLIP_USUAL: dict[str, Any] = {"head_width": 64, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_CLIP_USUAL |= {"eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 49407}


def llama_config(shapes: Shapes, stated: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Return the arguments of `LlamaConfig`."""
    stated = _stated(stated)
    usual = _LLAMA_USUAL | {key: stated[key] for key in _LLAMA_USUAL if stated.get(key) is not None}
    if isinstance(rope := stated.get("rope_parameters"), Mapping) and "rope_theta" in rope:
        usual["rope_theta"] = rope["rope_theta"]
    width = _shape(shapes, "embed_tokens.weight", where)[1]
    if "num_attention_heads" in stated and stated.get("head_dim") is None:
        usual["head_dim"] = width // int(stated["num_attention_heads"])
    heads, keys = (_shape(shapes, f"layers.0.self_attn.{part}_proj.weight", where)[0] for part in "qk")
    return {
        **usual,
        "vocab_size": _shape(shapes, "embed_tokens.weight", where)[0],
        "hidden_size": width,
        "intermediate_size": _shape(shapes, "layers.0.mlp.gate_proj.weight", where)[0],
        "num_hidden_layers": _count(r"layers\.(\d+)\.", shapes),
        "num_attention_heads": heads // usual["head_dim"],
        "num_key_value_heads": keys // usual["head_dim"],
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def clip_config(shapes: Shapes, stated: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Return the arguments of `CLIPTextConfig`."""
    stated = _stated(stated)
    usual = _CLIP_USUAL | {key: stated[key] for key in _CLIP_USUAL if stated.get(key) is not None}
    width = _shape(shapes, "embeddings.token_embedding.weight", where)[1]
    num_heads = stated.get("num_attention_heads", width // usual.pop("head_width"))
    return {
        **usual,
        "vocab_size": _shape(shapes, "embeddings.token_embedding.weight", where)[0],
        "max_position_embeddings": _shape(shapes, "embeddings.position_embedding.weight", where)[0],
        "hidden_size": width,
        "intermediate_size": _shape(shapes, "encoder.layers.0.mlp.fc1.weight", where)[0],
        "num_hidden_layers": _count(r"encoder\.layers\.(\d+)\.", shapes),
        "num_attention_heads": num_heads,
    }


def _stated(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration, or what the metadata of a single file hold of it under "config"."""
    if not isinstance(stated.get("config"), str):
        return stated
    try:
        parsed = json.loads(stated["config"])
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _shape(shapes: Shapes, name: str, where: object) -> tuple[int, ...]:
    if name not in shapes:
        what = said("it has no tensor {name!r}", name=name)
        raise ModelError(where, what, remedy="Choose the text encoders of HunyuanVideo, or download it again")
    return shapes[name]


def _count(pattern: str, names: Shapes) -> int:
    return len({found[1] for name in names if (found := re.match(pattern, name))})
