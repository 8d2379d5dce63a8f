"""The check that a model ends its answers: the loss may be fine of one that never stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..rows.examples import Example

#: After so many steps it is looked at for the first time.
FIRST_LOOK = 20
#: How many rows that were learnt are asked again, and how much longer than right an answer may be.
_NUM_ASKED, _TIMES, _MORE = 4, 2, 8


@torch.no_grad()
def ended_share(network: Any, examples: Sequence[Example], end_tokens: tuple[int, ...]) -> float:
    """Return the share of a few rows to which a network gives an answer that ends, at its likeliest tokens."""
    from transformers import GenerationConfig

    was_learning = network.training
    network.eval()
    asked = examples[:_NUM_ASKED]
    most = int(getattr(network.config, "max_position_embeddings", None) or 1 << 30)
    try:
        ended = 0
        for example in asked:
            settings = GenerationConfig(
                max_new_tokens=min(_TIMES * example.num_learnt + _MORE, most - len(example.asked)),
                do_sample=False,
                eos_token_id=list(end_tokens),
                pad_token_id=end_tokens[0],
            )
            tokens = torch.tensor([example.asked], device=network.device)
            written = network.generate(
                input_ids=tokens, attention_mask=torch.ones_like(tokens), generation_config=settings
            )
            ended += any(token in end_tokens for token in written[0, tokens.shape[1] :].tolist())
    finally:
        network.train(was_learning)
    return ended / len(asked)
