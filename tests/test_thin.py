"""Thin factors: their product is the whole change, of every kind that is a product of thin matrices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import random_deltas
import torch

from lora_core.deltas import Delta, LoHa, LoKr, stacked, thin_factors
from lora_core.errors import LoraMismatchError

LINEAR, CONVOLUTION = (12, 20), (16, 12, 1, 2, 3)
THIN = ("lora", "loha", "lokr_low_rank", "glora", "placed_lora", "placed_glora")
THIN_CONVOLUTIONS = ("lora", "lora_flat", "lora_with_mid", "loha", "placed_lora")
CASES = [(LINEAR, random_deltas.LINEAR[name]) for name in THIN] + [
    (CONVOLUTION, random_deltas.CONVOLUTION[name]) for name in THIN_CONVOLUTIONS
]


@pytest.mark.parametrize(("shape", "make"), CASES, ids=lambda case: getattr(case, "__name__", "shape"))
def test_the_product_of_thin_factors_is_the_whole_change(
    shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Delta]
) -> None:
    torch.manual_seed(1)
    delta = make(shape)
    base = torch.randn(delta.shape)
    pair = thin_factors(delta, base)
    assert pair is not None
    down, up = pair
    assert down.shape[0] == up.shape[1] < min(delta.shape[0], down.shape[1])
    assert torch.allclose(up @ down, delta.dense(base).flatten(1), atol=1e-5)


def test_rows_below_each_other_keep_their_own_ranks() -> None:
    torch.manual_seed(2)
    parts = [(random_deltas.loha(LINEAR), 12), (None, 12), (random_deltas.lora(LINEAR), 12)]
    whole = stacked(parts)
    pair = thin_factors(whole)
    assert pair is not None
    assert torch.allclose(pair[1] @ pair[0], whole.dense(), atol=1e-5)
    assert thin_factors(stacked([*parts, (random_deltas.full(LINEAR), 12)])) is None


@pytest.mark.parametrize("name", ["full", "dora", "oft", "boft", "replacement", "lokr", "placed_full", "placed_dora"])
def test_what_is_no_product_thinner_than_itself_has_no_factors(name: str) -> None:
    """A small LoKr with both factors in full is of full rank."""
    make = {**random_deltas.CONVOLUTION, **random_deltas.LINEAR}[name]
    assert thin_factors(make((8, 8)), torch.randn(8, 8)) is None


def test_a_lokr_whose_first_factor_is_in_full_has_the_ranks_of_both() -> None:
    half = torch.randn(16, 2), torch.randn(2, 24)
    delta = LoKr(w1=torch.randn(4, 2), w2a=half[0], w2b=half[1], scale=0.3)
    pair = thin_factors(delta)
    assert pair is not None
    assert pair[0].shape[0] == 4
    assert torch.allclose(pair[1] @ pair[0], delta.dense(), atol=1e-5)


def test_a_loha_of_as_many_ranks_as_its_weight_has_rows_is_no_thinner() -> None:
    halves = torch.randn(16, 4), torch.randn(4, 16)
    assert thin_factors(LoHa(*halves, *halves)) is None


def test_a_change_that_holds_a_product_with_the_base_asks_for_it() -> None:
    for make in (random_deltas.glora, random_deltas.placed(random_deltas.glora)):
        with pytest.raises(LoraMismatchError, match="GLoRA: its change depends on the base weight"):
            thin_factors(make(LINEAR))
