"""The layers that learn: what words, patterns and blocks choose, and what is said where they choose nothing."""

from __future__ import annotations

import pytest
import tiny

from lora_core.errors import TrainingError
from lora_core.families.registry import spec_of_module
from lora_core.training.network.targets import check_rank, chosen_layers
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings

NETWORK = tiny.transformer()
SPEC = spec_of_module(NETWORK)
ATTENTION = {f"{attention}.{name}" for attention in ("self_attn", "cross_attn") for name in "qkvo"}
FFN = {"ffn.0", "ffn.2"}


def chosen(*targets: str, blocks: str = "") -> set[str]:
    return {layer.target for layer in chosen_layers(NETWORK, SPEC, targets, blocks)}


@pytest.mark.parametrize(
    ("word", "inside"),
    [
        ("linear", ATTENTION | FFN),
        ("attention", ATTENTION),
        ("self_attn", {name for name in ATTENTION if name.startswith("self")}),
        ("cross_attn", {name for name in ATTENTION if name.startswith("cross")}),
        ("ffn", FFN),
    ],
)
def test_a_word_chooses_its_layers_in_every_block(word: str, inside: set[str]) -> None:
    assert chosen(word) == {f"blocks.{block}.{name}" for block in (0, 1) for name in inside}


def test_patterns_and_words_add_up_and_a_pattern_may_reach_outside_the_blocks() -> None:
    assert chosen(r"blocks\.1\.ffn\..*", r"time_projection\.1") == {
        "blocks.1.ffn.0",
        "blocks.1.ffn.2",
        "time_projection.1",
    }
    assert chosen("ffn", r"blocks\.0\.self_attn\.q") == chosen("ffn") | {"blocks.0.self_attn.q"}


def test_blocks_narrow_every_choice() -> None:
    assert chosen("ffn", blocks="1") == {"blocks.1.ffn.0", "blocks.1.ffn.2"}
    assert chosen("linear", blocks="0-1") == chosen("linear", blocks="1, 0") == chosen("linear")


def test_layers_come_in_the_order_of_the_network_whatever_order_they_are_named_in() -> None:
    first, second = (chosen_layers(NETWORK, SPEC, targets, "") for targets in (("ffn", "attention"), ("linear",)))
    assert first == second


@pytest.mark.parametrize(
    ("targets", "blocks", "message"),
    [
        # finetrainers' default, which chooses nothing of such a network
        (
            (r"(transformer_blocks|single_transformer_blocks).*(to_q|to_k|to_v|to_out.0)",),
            "",
            "matches no linear layer of Wan",
        ),
        (("blocks.0.self_attn.qq",), "", "nearest: 'blocks.0.self_attn.q'"),
        ((r"blocks\.\d+\.attn1\.to_q",), "", "nearest: 'blocks.0.self_attn.q'"),
        ((r"blocks\.0\.ffn\.0",), "1", "in the blocks 1"),
        (("atention",), "", "unknown word 'atention' (nearest: 'attention')"),
        (("blocks.(",), "", "is no regular expression"),
        ((), "", "targets: none are named"),
        (("linear",), "0-2", "has no block 2 (0 to 1)"),
        (("linear",), "1-0", "'1-0' is no range"),
        (("linear",), "all", "'all' is no range"),
    ],
)
def test_a_choice_of_nothing_is_an_error_that_names_the_nearest(
    targets: tuple[str, ...], blocks: str, message: str
) -> None:
    with pytest.raises(TrainingError) as error:
        chosen_layers(NETWORK, SPEC, targets, blocks)
    assert message in str(error.value)


def test_a_rank_above_the_smaller_side_of_a_layer_is_an_error_that_names_both_sides() -> None:
    layers = chosen_layers(NETWORK, SPEC, ("linear",), "")
    check_rank(64, layers)
    with pytest.raises(
        TrainingError, match=r"rank: 65 is larger than the layer 'blocks\.0\.self_attn\.q', which has 64 "
    ):
        check_rank(65, layers)
    with pytest.raises(TrainingError, match="128 outputs and 64 inputs"):
        make_trainee(NETWORK, AdapterSettings(rank=100, targets=(r"blocks\.\d\.ffn\.0",)))
