"""The heat map: a row for each module, in the order in which the deltas come, and a column for each block."""

from __future__ import annotations

import torch

from lora_core.deltas import Full
from lora_core.families.wan.spec import wan_grammar
from lora_core.files.plot import draw_deltas
from lora_core.files.weights import LoraWeights

WAN = wan_grammar()


def test_a_target_lies_in_a_block_or_outside() -> None:
    assert WAN.block_of("blocks.12.self_attn.q.bias") == (12, "self_attn.q.bias")
    assert WAN.block_of("head.head") is None
    assert WAN.block_of("vace_blocks.0.ffn.0") is None


def test_modules_stand_in_the_order_of_the_deltas_and_blocks_by_number() -> None:
    targets = ("head.head", "blocks.10.self_attn.q", "blocks.10.ffn.0", "blocks.2.self_attn.q")
    weights = LoraWeights(None, "made", {target: Full(torch.ones(4, 4)) for target in targets})
    ax = draw_deltas([weights]).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["head.head", "self_attn.q", "ffn.0"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "10", "outside"]
