"""The loss on rows that are not learnt: the mean over the tokens of their answers, of any batch size the same."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..rows.examples import IGNORED, Example


@torch.no_grad()
def held_out_loss(network: Any, examples: Sequence[Example], batch_size: int, *, mixed: bool = False) -> float:
    """Return the loss of a network that learns, which is left in the mode it is in; no random number is drawn."""
    was_learning = network.training
    network.eval()
    total, count = 0.0, 0
    try:
        for start in range(0, len(examples), batch_size):
            tokens, labels, mask = padded(examples[start : start + batch_size], network.device)
            with torch.autocast(network.device.type, torch.bfloat16) if mixed else nullcontext():
                logits = network(input_ids=tokens, attention_mask=mask, use_cache=False).logits
            wanted = labels[:, 1:]
            losses = F.cross_entropy(
                logits[:, :-1].float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            total += float(losses)
            count += int((wanted != IGNORED).sum())
    finally:
        network.train(was_learning)
    return total / count


def padded(examples: Sequence[Example], device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, labels and mask of several examples, each (B, L); what is filled up is masked."""
    length = max(len(example.input_ids) for example in examples)

    def filled(rows: list[list[int]], value: int) -> Tensor:
        return torch.tensor([row + [value] * (length - len(row)) for row in rows], device=device)

    tokens = filled([example.input_ids for example in examples], 0)
    labels = filled([example.labels for example in examples], IGNORED)
    return tokens, labels, filled([[1] * len(example.input_ids) for example in examples], 0)
