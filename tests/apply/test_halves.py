"""A stack that acts on one half of a batch: that half as if it were alone with it, the other as if there were none."""

from dataclasses import dataclass, field

import pytest
import random_deltas
import tiny
import torch
from torch import nn

from lora_core.apply.attachment import attach
from lora_core.deltas import Full
from lora_core.families.registry import spec_of_module

TARGETS = ("patch", "linear", "linear.bias", "norm", "norm.bias", "plain", "modulation")


@dataclass(frozen=True)
class Entry:
    """One LoRA as routing hands it over."""

    deltas: dict
    strength: float = 1.0
    name: str = "style"
    factors: dict = field(default_factory=dict)


class Small(nn.Module):
    """A network with every kind of parameter that a file can touch."""

    def __init__(self):
        super().__init__()
        self.patch, self.linear = nn.Conv2d(2, 6, 2, stride=2), nn.Linear(6, 8)
        self.norm, self.plain = nn.LayerNorm(8), nn.Linear(8, 8, bias=False)
        self.modulation = nn.Parameter(torch.randn(1, 8))

    def forward(self, x):
        x = self.linear(self.patch(x).flatten(2).transpose(1, 2))
        return self.plain(self.norm(x) * (1 + self.modulation))


def small():
    torch.manual_seed(0)
    return Small().requires_grad_(False), torch.randn(4, 2, 4, 6)


def parameter_of(module, target):
    path, name = spec_of_module(module).parameter_path(target, module)
    return module.get_submodule(path).get_parameter(name)


def entry(module, targets, make=None, strength=0.7):
    deltas = {}
    for target in targets:
        shape = tuple(parameter_of(module, target).shape)
        deltas[target] = make(shape) if make and min(shape) > 1 and len(shape) == 2 else Full(0.3 * torch.randn(shape))
    return Entry(deltas, strength)


def halves_apart(module, x, entries, **how):
    """Return what the first half gives without the stack, and the second with it, each by itself."""
    first, second = x.chunk(2)
    with torch.no_grad():
        plain = module(first)
        with attach(module, entries, **how):
            return torch.cat([plain, module(second)])


@pytest.mark.parametrize("side", ["auto", "activation", "weight"])
@pytest.mark.parametrize("make", random_deltas.LINEAR.values(), ids=random_deltas.LINEAR)
def test_each_half_is_what_it_would_be_alone_whatever_changes(make, side):
    module, x = small()
    entries = [entry(module, TARGETS, make), entry(module, ("linear", "plain"), random_deltas.lora, -0.4)]
    expected = halves_apart(module, x, entries, side=side)
    with torch.no_grad(), attach(module, entries, side=side) as attachment:
        with attachment.acting_on("second_half"):
            found = module(x)
        whole = module(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (whole - found)[: len(x) // 2].abs().max() > 1e-3  # the stack acts on all rows again


def test_rows_none_is_bit_for_bit_the_plain_network():
    module, x = small()
    plain = module(x)
    with attach(module, [entry(module, TARGETS, random_deltas.lora)]) as attachment, attachment.acting_on("none"):
        assert torch.equal(module(x), plain)


def test_a_transformer_whose_every_kind_of_parameter_changes_keeps_its_halves_apart():
    module = tiny.transformer(0)
    spec = spec_of_module(module)
    targets = ("head.modulation", "blocks.0.modulation", "blocks.0.norm3", "blocks.1.self_attn.q", "time_embedding.0")
    targets += ("patch_embedding", "blocks.0.ffn.2")
    torch.manual_seed(1)
    made = {
        target: random_deltas.lora(spec.shapes[target], scale=0.1)
        if len(spec.shapes[target]) == 2
        else Full(0.1 * torch.randn(spec.shapes[target]))
        for target in targets
    }
    plain = tiny.run(module, batch=2)
    with attach(module, [Entry(made)], spec) as attachment:
        changed = tiny.run(module, batch=2)
        with attachment.acting_on("second_half"):
            found = tiny.run(module, batch=2)
    torch.testing.assert_close(found, torch.stack([plain[0], changed[1]]), rtol=1e-5, atol=1e-5)


class Counting(nn.Linear):
    """A layer that notes how many rows it is given at each call."""

    def forward(self, x):
        self.rows.append(len(x))
        return super().forward(x)


@pytest.mark.parametrize(("num_tokens", "rows"), [(3, [4]), (64, [2, 2])])
def test_a_thin_change_of_few_tokens_multiplies_the_whole_batch_with_the_base_at_once(num_tokens, rows):
    layer = Counting(64, 64).requires_grad_(False)
    layer.rows = []
    attachment = attach(nn.Sequential(layer), [Entry({"0": random_deltas.lora((64, 64))})])
    with torch.no_grad(), attachment, attachment.acting_on("second_half"):
        layer(torch.randn(4, num_tokens, 64))
    assert layer.rows == rows
