"""How several processes compute a HunyuanVideo network together, for which diffusers has no plan.

Letters: B batch, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from ...errors import ModelError
from ..base import ModelSpec
from ..family import Shape, TokenSplit


def _plan(network: nn.Module) -> Mapping[str, Any]:
    """Split the tokens of clip and text at the first block, and gather the clip's at the output.

    Raises:
        ModelError: the network gives the tokens of its first frame a modulation of their own, whoever has them.
    """
    from diffusers.models._modeling_parallel import ContextParallelInput as Split
    from diffusers.models._modeling_parallel import ContextParallelOutput as Gather

    if network.config.image_condition_type == "token_replace":  # type: ignore[union-attr]  # diffusers' own
        raise ModelError(
            type(network).__name__,
            "its first frame has a modulation of its own, which several processes cannot share",
            remedy="Run it in one process",
        )
    tokens, places = Split(split_dim=1, expected_dims=3), Split(split_dim=0, expected_dims=2, split_output=True)
    return {
        "rope": {0: places, 1: places},
        "transformer_blocks.0": {"hidden_states": tokens, "encoder_hidden_states": tokens},
        "proj_out": Gather(gather_dim=1, expected_dims=3),
    }


def _num_heads(network: Any) -> int:
    return int(network.config.num_attention_heads)


def _parts(spec: ModelSpec, latents: Shape, num_tokens: int) -> Mapping[str, int]:
    """Return the tokens of a clip, latents (B, C, F, H, W), and those of its text, which attend together."""
    frames, height, width = (size // patch for size, patch in zip(latents[2:], spec.patch_size, strict=True))
    return {"tokens of the clip": frames * height * width, "tokens of the text": num_tokens}


def _in_order(mask: Any, num_text: int, num_processes: int) -> Any:
    """Put a mask (B, 1, 1, L) of clip and text into the order in which the processes' tokens come together.

    The network makes it for the whole clip, then the whole text, of which each process has `num_text` tokens; what
    meets is the clip's and the text's part of the first process, then those of the second.
    """
    from torch import cat

    clip, text = mask.split([mask.shape[-1] - num_text * num_processes, num_text * num_processes], dim=-1)
    pairs = zip(clip.chunk(num_processes, dim=-1), text.chunk(num_processes, dim=-1), strict=True)
    return cat([part for pair in pairs for part in pair], dim=-1)


@contextmanager
def _attention(network: Any) -> Iterator[None]:
    """Let the blocks' attention take its mask in the order of the processes."""
    from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0

    class OrderedMask(HunyuanVideoAttnProcessor2_0):
        """The usual attention, its mask put in order first."""

        def __call__(
            self,
            attn: Any,
            hidden_states: Any,
            encoder_hidden_states: Any = None,
            attention_mask: Any = None,
            image_rotary_emb: Any = None,
        ) -> Any:
            config: Any = self._parallel_config
            num_processes = config.context_parallel_config._world_size
            mask = _in_order(attention_mask, encoder_hidden_states.shape[1], num_processes)
            return super().__call__(attn, hidden_states, encoder_hidden_states, mask, image_rotary_emb)

    layers = [block.attn for block in (*network.transformer_blocks, *network.single_transformer_blocks)]
    before = [layer.processor for layer in layers]
    for layer in layers:
        layer.set_processor(OrderedMask())
    try:
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.set_processor(processor)


PARALLEL = TokenSplit(plan=_plan, num_heads=_num_heads, parts=_parts, attention=_attention)
