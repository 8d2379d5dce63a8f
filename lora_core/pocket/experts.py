"""The pocket experts: small `WanTransformer3DModel`s and the one way in which the pocket world calls them.

Letters: B batch, C latent channels, F latent frames, H W latent height and width, L text tokens. Everything is float32.
"""

import math

import torch
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor, WanTransformer3DModel
from torch import Tensor

from .text import MAX_CAPTION_TOKENS, MAX_PROMPT_TOKENS

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


class FoldedPadding(WanAttnProcessor):
    """Attention to one pad in place of hundreds of identical ones, with the same result.

    Wan pads every prompt to 512 vectors, all pads being the same zero vector. k equal keys weigh as much as one key
    whose logit is larger by log(k), so training and measuring keep MAX_CAPTION_TOKENS positions and one folded pad.
    """

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        if encoder_hidden_states is not None:
            attention_mask = hidden_states.new_zeros(1, 1, 1, MAX_CAPTION_TOKENS + 1)
            attention_mask[..., -1] = math.log(MAX_PROMPT_TOKENS - MAX_CAPTION_TOKENS)
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)


def fold_padding(expert: WanTransformer3DModel) -> WanTransformer3DModel:
    """Make the expert read captions from `text.embed`; changes its attention processors, never its weights."""
    expert.set_attn_processor(FoldedPadding())  # type: ignore[arg-type]  # any callable of its form
    return expert


def predict_velocity(expert: WanTransformer3DModel, x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """Predict noise - clip at noise level sigma.

    x (B, C, F, H, W), sigma (B,) in 0..1, text (B, L, width); returns (B, C, F, H, W).
    """
    return expert(x, timestep=sigma * 1000.0, encoder_hidden_states=text, return_dict=False)[0]
