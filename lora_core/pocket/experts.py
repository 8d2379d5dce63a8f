"""The pocket experts: small `WanTransformer3DModel`s and the one way in which the pocket world calls them.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L text tokens. Everything is float32.
"""

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from ..families.wan.padding import fold_padding as fold

BOUNDARY_SIGMA = 0.875
NUM_HEADS = 4
TEXT_WIDTH = 64
LATENT_SHAPE = (16, 5, 8, 8)


def build_expert() -> WanTransformer3DModel:
    """Build one untrained expert of Wan's text-to-video architecture; its output starts at zero."""
    expert = WanTransformer3DModel(
        num_attention_heads=NUM_HEADS,
        attention_head_dim=32,
        text_dim=TEXT_WIDTH,
        ffn_dim=512,
        num_layers=6,
        cross_attn_norm=True,
        rope_max_seq_len=1024,
    )
    torch.nn.init.zeros_(expert.proj_out.weight)
    torch.nn.init.zeros_(expert.proj_out.bias)
    return expert


def fold_padding(expert: WanTransformer3DModel) -> WanTransformer3DModel:
    """Make the expert read captions from `text.embed`; changes its attention processors, never its weights."""
    fold(expert)
    return expert


def predict_velocity(expert: WanTransformer3DModel, x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """Predict noise - clip at noise level sigma.

    x (B, C, F, H, W), sigma (B,) in 0..1, text (B, L, width); returns (B, C, F, H, W).
    """
    return expert(x, timestep=sigma * 1000.0, encoder_hidden_states=text, return_dict=False)[0]
