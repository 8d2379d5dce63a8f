"""Cross-attention to one pad in place of the hundreds of equal ones behind a prompt, with the same result.

Every prompt is padded to 512 vectors, all pads being the same zero vector. k equal keys weigh as much as one key whose
logit is larger by log(k); so a text may be given with one pad for all of them. What is saved is their projections and
their share of the attention, which for small clips is most of a step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..base import ModelSpec
from ..pieces.text import MAX_TOKENS

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanAttention


def folds_padding(spec: ModelSpec) -> bool:
    """Say whether a model's networks can; not those that find their picture's features by counting 512 of text."""
    return not spec.image_embeds


def fold_padding(network: nn.Module) -> None:
    """Let a network take texts (B, L, D) of less than 512 tokens, the last one a pad that counts for all behind it.

    Changes the attention processors of the module and none of its weights; texts of 512 tokens are read as before.
    """
    from diffusers.models.transformers.transformer_wan import WanAttnProcessor

    class FoldedPadding(WanAttnProcessor):
        """Attention with the last pad's logit raised by the logarithm of how many it counts for."""

        def __call__(
            self,
            attn: WanAttention,
            hidden_states: Tensor,
            encoder_hidden_states: Tensor | None = None,
            attention_mask: Tensor | None = None,
            rotary_emb: tuple[Tensor, Tensor] | None = None,
        ) -> Tensor:
            if encoder_hidden_states is not None and encoder_hidden_states.shape[1] < MAX_TOKENS:
                num_tokens = encoder_hidden_states.shape[1]
                attention_mask = hidden_states.new_zeros(1, 1, 1, num_tokens)
                attention_mask[..., -1] = math.log(MAX_TOKENS - num_tokens + 1)
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)

    whole: Any = network
    whole.set_attn_processor(FoldedPadding())
