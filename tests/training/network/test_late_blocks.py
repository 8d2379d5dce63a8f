"""Late blocks only: the same gradients as of the whole for what learns, and no activations of the blocks before."""

from dataclasses import replace

import pytest
import tiny
import torch
from trainees import call, gradients, stir

from lora_core import open_wan
from lora_core.checkpoints.meter import MemoryMeter
from lora_core.errors import TrainingError
from lora_core.families.registry import spec_of_module
from lora_core.training.assembly import check_layers
from lora_core.training.config import make_config
from lora_core.training.network.targets import chosen_blocks
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings, Method


def deep(num_blocks: int = 6) -> torch.nn.Module:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=32, text_dim=64, ffn_dim=128, num_layers=num_blocks
    ).requires_grad_(False)


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_what_learns_gets_the_gradient_that_it_gets_among_all(method: Method) -> None:
    settings = AdapterSettings(method=method, rank=4, base="fp8")
    network = deep()
    every, late = make_trainee(network, settings), make_trainee(network, replace(settings, first_block=4))
    assert {name.split(".")[1] for name in late.weights} == {"4", "5"}
    for name, weight in late.weights.items():
        weight.data.copy_(every.weights[name])
    ours, theirs = gradients(late), gradients(every)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(grad.abs().max() > 0 for grad in ours.values())


def held_for_the_backward(first_block: int) -> int:
    """Return the bytes that a forward pass leaves in memory for its backward."""
    trainee = make_trainee(deep(), AdapterSettings(rank=4, first_block=first_block))
    stir(trainee)
    with MemoryMeter() as meter:
        loss = call(trainee.network).square().mean()
        held = meter.num_bytes
    assert loss.requires_grad
    return held


def test_the_blocks_before_leave_no_activations() -> None:
    every, half, last = (held_for_the_backward(first) for first in (0, 3, 5))
    a_block = (every - last) / 5
    assert half == pytest.approx(last + 2 * a_block, rel=0.02)
    assert last < 0.3 * every


def test_a_range_may_be_open_and_first_block_is_one() -> None:
    spec = spec_of_module(deep())
    assert chosen_blocks("4-", spec) == {4, 5}
    assert chosen_blocks("0,3-", spec) == {0, 3, 4, 5}
    assert AdapterSettings(first_block=4).used_blocks == "4-"
    assert AdapterSettings(blocks="1").used_blocks == "1"
    with pytest.raises(TrainingError, match=r"has no block 6 \(0 to 5\)"):
        chosen_blocks("6-", spec)
    with pytest.raises(TrainingError, match="first_block: 2 beside blocks = 0-1"):
        make_config({"clips": "x", "name": "n", "first_block": 2, "blocks": "0-1"})
    with pytest.raises(TrainingError, match="first_block: -1 is out of range"):
        AdapterSettings(first_block=-1)
    with pytest.raises(TrainingError, match="has no block 7"):
        make_trainee(tiny.transformer(), AdapterSettings(rank=4, first_block=7))


def test_a_first_block_that_is_not_there_is_named_as_it_was_given() -> None:
    config = make_config({"clips": "x", "name": "n", "first_block": 99})
    with pytest.raises(TrainingError, match=r"^first_block: Wan pocket has no block 99 \(0 to 5\)"):
        check_layers(config, open_wan("pocket"))
