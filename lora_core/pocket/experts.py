"""The architectures of the pocket experts, untrained: small `WanTransformer3DModel`s, and one Cosmos.

Everything is float32.
"""

from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_cosmos import CosmosTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

HEAD_WIDTH = 32
TEXT_WIDTH = 64
LATENT_SHAPE = (16, 5, 8, 8)
IMAGE_CHANNELS = 20
"""What an image model is told beside the noisy latents: four of mask, sixteen of the picture's latents."""

COSMOS_MASKS = 2
"""What Cosmos is told beside the noisy latents: which frames are known, and a padding mask of zeros."""
COSMOS_MODULATION_WIDTH = 32


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
def build_cosmos(seed: int = 60) -> CosmosTransformer3DModel:
    """Build the untrained network of Cosmos Predict2's architecture; its output, and all its gates, start at zero."""
    torch.manual_seed(seed)
    network = CosmosTransformer3DModel(
        in_channels=LATENT_SHAPE[0] + COSMOS_MASKS,
        out_channels=LATENT_SHAPE[0],
        num_attention_heads=NORMAL.num_heads,
        attention_head_dim=HEAD_WIDTH,
        num_layers=NORMAL.num_layers,
        mlp_ratio=NORMAL.ffn_width / (NORMAL.num_heads * HEAD_WIDTH),
        text_embed_dim=TEXT_WIDTH,
        adaln_lora_dim=COSMOS_MODULATION_WIDTH,
        rope_scale=(1.0, 1.0, 1.0),
        concat_padding_mask=False,
        extra_pos_embed_type=None,
    )
    torch.nn.init.zeros_(network.proj_out.weight)
    for block in network.transformer_blocks:
        for norm in (block.norm1, block.norm2, block.norm3):
            torch.nn.init.zeros_(norm.linear_2.weight)
    return network


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
