"""Tiny native models of other families than Wan, built by ComfyUI's own classes, with random weights."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

_FLUX_LIKE = {
    **{"in_channels": 16, "out_channels": 16, "vec_in_dim": 16, "context_in_dim": 32, "hidden_size": 64},
    **{"mlp_ratio": 4.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 2, "axes_dim": [8, 12, 12]},
    **{"qkv_bias": True, "guidance_embed": True},
}


@dataclass(frozen=True)
class Tiny:
    """A family: the host's class of it, what makes it small, and what its network is called with.

    Attributes:
        latent: the shape of its latents.
        calls: further keywords of a call, by shape.
    """

    config: type
    unet: Mapping[str, Any]
    latent: tuple[int, ...]
    calls: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: Mapping[str, Tiny] = {
    "Flux": Tiny(
        comfy.supported_models.Flux,
        {**_FLUX_LIKE, "image_model": "flux", "patch_size": 2, "theta": 10000, "txt_ids_dims": []},
        (1, 16, 8, 6),
        {"y": (1, 16), "guidance": (1,)},
    ),
    "HunyuanVideo": Tiny(
        comfy.supported_models.HunyuanVideo,
        {
            **{**_FLUX_LIKE, "image_model": "hunyuan_video", "patch_size": [1, 2, 2], "theta": 256},
            **{"byt5": False, "meanflow": False, "use_cond_type_embedding": False, "vision_in_dim": None},
            "meanflow_sum": False,
        },
        (1, 16, 2, 6, 4),
        {"y": (1, 16), "guidance": (1,)},
    ),
    "LTX-Video": Tiny(
        comfy.supported_models.LTXV,
        {
            **{"image_model": "ltxv", "in_channels": 128, "cross_attention_dim": 64, "attention_head_dim": 32},
            **{"num_attention_heads": 2, "caption_channels": 32, "num_layers": 2},
        },
        (1, 128, 2, 3, 2),
        constants={"frame_rate": 25, "attention_mask": None},
    ),
    "Qwen-Image": Tiny(
        comfy.supported_models.QwenImage,
        {
            **{"image_model": "qwen_image", "in_channels": 64, "out_channels": 16, "num_layers": 2},
            **{"attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 32},
            "axes_dims_rope": (8, 12, 12),
        },
        (1, 16, 1, 8, 6),
    ),
    "SD 1.5": Tiny(
        comfy.supported_models.SD15,
        {
            **{"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1]},
            **{"channel_mult": (1, 2), "transformer_depth": [1, 1], "transformer_depth_middle": 1, "context_dim": 32},
            **{"transformer_depth_output": [1, 1, 1, 1], "use_spatial_transformer": True, "num_heads": 2},
            **{"num_head_channels": -1, "use_linear_in_transformer": False, "adm_in_channels": None, "legacy": False},
            "use_temporal_attention": False,
        },
        (1, 4, 8, 6),
    ),
}


def tiny_model(family: str, seed: int = 0) -> ModelPatcher:
    """Return a MODEL of a family, as the host's loader would wrap it."""
    tiny = FAMILIES[family]
    config = tiny.config(dict(tiny.unet))
    config.set_inference_dtype(torch.float32, None)
    cpu = comfy.model_management.get_torch_device()
    with torch.inference_mode():
        model = config.get_model({}, "", device=cpu)
        fill(model.diffusion_model, seed)
    return ModelPatcher(model, load_device=cpu, offload_device=cpu)


def tiny_clip(seed: int = 0) -> comfy.sd.CLIP:
    """Return a CLIP with one small CLIP-L, as the host's loader would wrap it; it embeds tokens, not texts."""
    small = {"num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    small |= {"eos_token_id": 49407, "hidden_act": "quick_gelu", "num_positions": 77, "vocab_size": 49408}
    clip = comfy.sd.CLIP(no_init=True)
    with torch.inference_mode():
        clip.cond_stage_model = comfy.sd1_clip.SD1ClipModel(
            device="cpu", dtype=torch.float32, model_options={"clip_l_model_config": small}
        )
        fill(clip.cond_stage_model, seed)
    cpu = torch.device("cpu")
    clip.patcher = ModelPatcher(clip.cond_stage_model, load_device=cpu, offload_device=cpu)
    clip.tokenizer, clip.layer_idx, clip.tokenizer_options = None, None, {}
    clip.use_clip_schedule, clip.apply_hooks_to_conds = False, None
    return clip


def fill(network: nn.Module, seed: int) -> None:
    """Give a network random weights that keep its numbers near 1, zero-initialised ones too."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            noise = noise / parameter[0].numel() ** 0.5
        else:
            noise = 0.1 * noise + (0.0 if name.endswith("bias") else 1.0)
        parameter.copy_(noise)


def predict(patcher: ModelPatcher, family: str, sigma: float = 0.8, x: Tensor | None = None) -> Tensor:
    """Return what a MODEL predicts at the host's sigma, run as samplers run it."""
    tiny = FAMILIES[family]
    comfy.model_management.load_models_gpu([patcher])
    texts = tiny.unet.get("joint_attention_dim") or tiny.unet.get("caption_channels")
    texts = texts or tiny.unet.get("context_in_dim") or tiny.unet["context_dim"]
    calls = {name: random(name, *shape) for name, shape in tiny.calls.items()}
    options = patcher.model_options["transformer_options"] | {"wrappers": patcher.wrappers}
    return patcher.model.apply_model(
        start(family) if x is None else x,
        torch.full((1,), sigma),
        c_crossattn=random("text", 1, 5, texts),
        transformer_options=options,
        **calls,
        **tiny.constants,
    )


def start(family: str) -> Tensor:
    return random("latent", *FAMILIES[family].latent)


def random(name: str, *shape: int) -> Tensor:
    """Return noise that is the same for the same name and shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


#: (a parameter's shape) -> the end of a tensor's name -> the tensor.
Make = Callable[[tuple[int, ...]], Mapping[str, Tensor]]
