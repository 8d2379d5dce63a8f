"""How several processes compute a Cosmos network together, for which diffusers has no plan.

Letters: B batch, H heads, L tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..base import ModelSpec
from ..family import Shape, TokenSplit


def _plan(network: nn.Module) -> Mapping[str, Any]:
    """Split the tokens of a clip at the first block, what belongs to each of them everywhere, and gather the output.

    Times are (B, L, D) where frames are known beforehand, one for each token, and else (B, D), which stay whole.
    """
    from diffusers.models._modeling_parallel import ContextParallelInput as Split
    from diffusers.models._modeling_parallel import ContextParallelOutput as Gather

    tokens, places = Split(split_dim=1, expected_dims=3), Split(split_dim=0, expected_dims=2, split_output=True)
    times = {"embedded_timestep": tokens, "temb": tokens}
    has_table = getattr(network, "learnable_pos_embed", None) is not None
    table = {"learnable_pos_embed": {0: Split(split_dim=1, expected_dims=3, split_output=True)}} if has_table else {}
    return {
        "rope": {0: places, 1: places},
        **table,
        "transformer_blocks.0": {"hidden_states": tokens},
        "transformer_blocks.*": times,
        "norm_out": times,
        "proj_out": Gather(gather_dim=1, expected_dims=3),
    }


def _num_heads(network: Any) -> int:
    return int(network.config.num_attention_heads)


def _parts(spec: ModelSpec, latents: Shape, num_tokens: int) -> Mapping[str, int]:
    """Return the tokens of a clip, latents (B, C, F, H, W); cross-attention reads the whole text in each process."""
    frames, height, width = (size // patch for size, patch in zip(latents[2:], spec.patch_size, strict=True))
    return {"tokens of the clip": frames * height * width}


class SharedSelfAttention:
    """A processor of Cosmos' self-attention that takes keys and values from all processes.

    diffusers' own knows nothing of other processes: with a plan alone each would attend to its own tokens, and the
    video would be wrong without an error.
    """

    _attention_backend = None
    _parallel_config = None  # diffusers writes it here

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Tensor:
        from diffusers.models.attention_dispatch import dispatch_attention_fn
        from diffusers.models.embeddings import apply_rotary_emb

        assert encoder_hidden_states is None, "this is self-attention"
        assert attention_mask is None, "nothing masks it"
        q, k, v = (
            project(hidden_states).unflatten(2, (attn.heads, -1)) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        q, k = attn.norm_q(q), attn.norm_k(k)  # (B, L, H, D)
        if image_rotary_emb is not None:
            turn: dict[str, Any] = {"use_real": True, "use_real_unbind_dim": -2, "sequence_dim": 1}
            q, k = (apply_rotary_emb(x, image_rotary_emb, **turn) for x in (q, k))
        out = dispatch_attention_fn(q, k, v, backend=self._attention_backend, parallel_config=self._parallel_config)
        return attn.to_out[1](attn.to_out[0](out.flatten(2).type_as(q)))


@contextmanager
def _attention(network: Any) -> Iterator[None]:
    layers = [block.attn1 for block in network.transformer_blocks]
    before = [layer.processor for layer in layers]
    for layer in layers:
        layer.set_processor(SharedSelfAttention())
    try:
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.set_processor(processor)


PARALLEL = TokenSplit(plan=_plan, num_heads=_num_heads, parts=_parts, attention=_attention)
