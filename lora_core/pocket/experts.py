"""The architectures of the pocket experts: small `WanTransformer3DModel`s, untrained.

Everything is float32.
"""

from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

HEAD_WIDTH = 32
TEXT_WIDTH = 64
LATENT_SHAPE = (16, 5, 8, 8)
IMAGE_CHANNELS = 20
"""What an image model is told beside the noisy latents: four of mask, sixteen of the picture's latents."""


@dataclass(frozen=True)
class Size:
    """How large an expert is."""

    num_heads: int = 4
    num_layers: int = 6
    ffn_width: int = 512


NORMAL = Size()
SMALL = Size(num_heads=3, num_layers=4, ffn_width=384)


def build_expert(size: Size = NORMAL, seed: int = 20) -> WanTransformer3DModel:
    """Build one untrained expert of Wan's text-to-video architecture; its output starts at zero."""
    torch.manual_seed(seed)
    expert = WanTransformer3DModel(
        num_attention_heads=size.num_heads,
        attention_head_dim=HEAD_WIDTH,
        text_dim=TEXT_WIDTH,
        ffn_dim=size.ffn_width,
        num_layers=size.num_layers,
        cross_attn_norm=True,
        rope_max_seq_len=1024,
    )
    torch.nn.init.zeros_(expert.proj_out.weight)
    torch.nn.init.zeros_(expert.proj_out.bias)
    return expert


@torch.no_grad()
def with_image_channels(expert: WanTransformer3DModel) -> WanTransformer3DModel:
    """Build an image-to-video expert that computes what `expert` does until it has learnt to look at its picture."""
    arguments = {name: value for name, value in expert.config.items() if not name.startswith("_")}
    image_expert = WanTransformer3DModel(**arguments | {"in_channels": arguments["in_channels"] + IMAGE_CHANNELS})
    state = expert.state_dict()
    narrow = state["patch_embedding.weight"]
    wide = narrow.new_zeros(narrow.shape[0], narrow.shape[1] + IMAGE_CHANNELS, *narrow.shape[2:])
    wide[:, : narrow.shape[1]] = narrow
    image_expert.load_state_dict({**state, "patch_embedding.weight": wide})
    return image_expert
