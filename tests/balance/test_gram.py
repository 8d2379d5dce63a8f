import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from random_deltas import CONVOLUTION, LINEAR, NumbersMade, dense_weight, lora
from torch import nn

from lora_core.balance.directions import principal_angles
from lora_core.balance.gram import inner_products, weights_gram
from lora_core.balance.layers import layers_of, num_left_out
from lora_core.deltas import Dora, Full
from lora_core.families.registry import spec_of_module

SHAPE = (8, 6)


@dataclass
class Acting:
    """What `layers_of` asks of a routed LoRA."""

    deltas: dict[str, Any]
    factors: dict[str, float] = field(default_factory=dict)


def network(weight):
    module = nn.Sequential(nn.Conv3d(*weight.shape[1::-1], weight.shape[2:]) if weight.ndim > 2 else nn.Linear(6, 8))
    with torch.no_grad():
        module[0].weight.copy_(weight)
    return module.requires_grad_(False)


def gram_of(module, *loras):
    layers = layers_of(loras, spec_of_module(module), module)
    return weights_gram(layers, len(loras))


@pytest.mark.parametrize(("kind", "make"), [*LINEAR.items(), *CONVOLUTION.items()])
def test_inner_products_are_those_of_the_dense_changes_for_every_kind(kind, make):
    torch.manual_seed(0)
    shape = SHAPE if make in LINEAR.values() else (8, 6, 1, 2, 2)
    weight = torch.randn(shape)
    one, other = make(shape), lora(shape)
    gram = gram_of(network(weight), Acting({"0": one}, {"0": 0.5}), Acting({"0": other}))
    dense = [
        dense_weight(weight * 0, [d], [s]) if not d.needs_base else s * d.dense(weight).double().reshape(shape)
        for d, s in ((one, 0.5), (other, 1.0))
    ]
    wanted = torch.tensor([[float((a * b).sum()) for a in dense] for b in dense], dtype=torch.float64)
    assert torch.allclose(gram.products[0], wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert float(gram.norms[0]) == pytest.approx(float(weight.double().square().sum()), rel=1e-5)


def test_low_rank_changes_are_never_multiplied_out():
    torch.manual_seed(0)
    shape = (512, 256)
    loras = [Acting({"0": lora(shape)}) for _ in range(3)]
    module = nn.Sequential(nn.Linear(256, 512))
    (layer,) = layers_of(loras, spec_of_module(module), module)
    with NumbersMade() as made:
        inner_products(layer.changes(), 3)
    assert made.total < 512 * 256 / 4


def test_sizes_alignment_and_amplification_follow_from_the_products():
    torch.manual_seed(0)
    module, same, other = network(torch.randn(SHAPE)), lora(SHAPE), lora(SHAPE)
    gram = gram_of(module, Acting({"0": same}), Acting({"0": same}), Acting({"0": other}))
    size = same.norm() / float(module[0].weight.norm())
    assert gram.sizes([1, -2, 0])[:2].tolist() == pytest.approx([size, 2 * size], rel=1e-5)
    assert float(gram.alignment()[0, 1]) == pytest.approx(1)
    assert gram.amplification([1, 1, 0]) == pytest.approx(math.sqrt(2))
    assert gram.amplification([1, -1, 0]) == pytest.approx(0, abs=1e-3)
    assert gram.together([1, 1, 0]) == pytest.approx(2 * size, rel=1e-5)
    assert gram.together([1, -1, 0], relief=False) == pytest.approx(math.sqrt(2) * size, rel=1e-5)


def test_loras_of_different_layers_do_not_come_to_more_than_each_of_them():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 6)).requires_grad_(False)
    gram = gram_of(module, Acting({"0": lora((8, 6))}), Acting({"1": lora((6, 8))}))
    sizes = gram.sizes([1, 1])
    assert gram.together([1, 1]) == pytest.approx(float(sizes.square().mean().sqrt()))


def test_without_a_base_a_dora_counts_by_what_is_inside_it_and_vectors_are_counted_only():
    torch.manual_seed(0)
    inner = lora(SHAPE)
    dora = Acting({"0": Dora(inner, torch.ones(8)), "0.bias": Full(torch.ones(8))}, {"0": 1.0, "0.bias": 1.0})
    module = network(torch.randn(SHAPE))
    layers = layers_of([dora], spec_of_module(module))
    gram = weights_gram(layers, 1)
    assert [layer.target for layer in layers] == ["0"]
    assert float(gram.products[0, 0, 0]) == pytest.approx(inner.norm() ** 2, rel=1e-5)
    assert float(gram.norms[0]) == 48
    assert num_left_out([dora], layers) == 1


def test_a_layer_whose_base_is_all_zero_is_left_out():
    assert gram_of(network(torch.zeros(SHAPE)), Acting({"0": lora(SHAPE)})).targets == ()


def test_principal_angles_are_those_that_vectors_were_turned_by():
    first = torch.eye(5)[:, :2]
    turned = torch.tensor([[1.0, 0], [0, math.cos(0.5)], [0, math.sin(0.5)], [0, 0], [0, 0]])
    mixed = turned @ torch.tensor([[2.0, 1.0], [0.5, 3.0]])
    assert principal_angles(first, mixed) == pytest.approx((0, math.degrees(0.5)), abs=0.1)
