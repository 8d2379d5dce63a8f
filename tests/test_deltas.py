"""Deltas: each kind is its definition, computed in float32, and linear in the user's strength."""

from __future__ import annotations

import math

import pytest
import random_deltas
import torch
from torch import Tensor

from lora_core.deltas import Delta, Dora, Full, LoHa, LoKr, Lora, fits
from lora_core.errors import LoraMismatchError

LINEAR, CONVOLUTION = (6, 10), (8, 6, 1, 2, 3)
CASES = [(LINEAR, make) for make in random_deltas.LINEAR.values()] + [
    (CONVOLUTION, make) for make in random_deltas.CONVOLUTION.values()
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[1].__name__}-{len(case[0])}d")
def made(request: pytest.FixtureRequest) -> tuple[Delta, Tensor]:
    """Return (a delta, a base weight for it)."""
    torch.manual_seed(4)
    shape, make = request.param
    delta = make(shape)
    return delta, torch.randn(delta.shape)


def test_dense_has_the_deltas_shape_in_float32(made: tuple[Delta, Tensor]) -> None:
    delta, base = made
    assert delta.dense(base).shape == delta.shape
    assert delta.dense(base).dtype == torch.float32


def test_norm_is_that_of_dense(made: tuple[Delta, Tensor]) -> None:
    delta, base = made
    assert delta.norm(base) == pytest.approx(float(delta.dense(base).double().norm()), rel=1e-5)


def test_moving_keeps_everything_but_the_device(made: tuple[Delta, Tensor]) -> None:
    delta, base = made
    moved = delta.to("cpu")
    assert type(moved) is type(delta)
    assert (moved.scale, moved.rank, moved.shape, moved.num_bytes) == (
        delta.scale,
        delta.rank,
        delta.shape,
        delta.num_bytes,
    )
    assert torch.equal(moved.dense(base), delta.dense(base))
    assert {tensor.device.type for tensor in delta.to("meta").tensors()} == {"meta"}
    assert delta.to("meta").shape == delta.shape


def test_products_are_taken_in_float32_whatever_the_files_dtype() -> None:
    down, up = torch.randn(4, 32).bfloat16(), torch.randn(16, 4).bfloat16()
    assert torch.equal(Lora(down, up, None, 0.3).dense(), 0.3 * (up.float() @ down.float()))


def test_lora_of_a_convolution_agrees_with_two_convolutions() -> None:
    delta = random_deltas.lora((8, 6, 3, 3), rank=2, scale=0.7)
    x = torch.randn(1, 6, 9, 9)
    one = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, delta.down), delta.up) * 0.7
    torch.testing.assert_close(torch.nn.functional.conv2d(x, delta.dense()), one, rtol=1e-4, atol=1e-5)


def test_mid_is_the_kernel_between_two_1x1_convolutions() -> None:
    down, mid, up = torch.randn(2, 6, 1, 1), torch.randn(3, 2, 3, 3), torch.randn(8, 3, 1, 1)
    conv = torch.nn.functional.conv2d
    x = torch.randn(1, 6, 9, 9)
    chained = conv(conv(conv(x, down), mid), up)
    torch.testing.assert_close(conv(x, Lora(down, up, mid).dense()), chained, rtol=1e-4, atol=1e-4)


def test_loha_without_cores_is_a_hadamard_product() -> None:
    a, b, c, d = torch.randn(6, 2), torch.randn(2, 10), torch.randn(6, 2), torch.randn(2, 10)
    torch.testing.assert_close(LoHa(a, b, c, d, scale=3.0).dense(), 3.0 * (a @ b) * (c @ d))


def test_lokr_is_a_kronecker_product() -> None:
    w1, w2 = torch.randn(2, 5), torch.randn(3, 2)
    torch.testing.assert_close(LoKr(w1=w1, w2=w2, scale=0.5).dense(), 0.5 * torch.kron(w1, w2))


@pytest.mark.parametrize(
    ("shape", "wanted", "said"),
    [
        ((8, 6), (8, 6), True),
        ((8, 6), (6, 8), False),
        ((8, 6), (48,), False),
        ((8, 24), (8, 6, 2, 2), True),
        ((8, 6, 4), (8, 6, 2, 2), True),
        ((8, 6), (8, 6, 1, 1), True),
        ((6, 8), (1, 6, 8), True),
        ((6, 8), (1, 8, 6), False),
        ((1,), (), True),
    ],
)
def test_a_change_fits_as_it_is_flat_or_without_ones(shape, wanted, said) -> None:
    assert fits(shape, wanted) is said
    assert fits(list(shape), torch.Size(wanted)) is said


def test_the_rank_of_a_lokr_is_that_of_its_larger_factor() -> None:
    one, two = (torch.randn(2, 3), torch.randn(3, 2)), (torch.randn(8, 4), torch.randn(4, 8))
    assert LoKr(w1a=one[0], w1b=one[1], w2a=two[0], w2b=two[1]).rank == 4
    assert LoKr(w1=torch.randn(2, 2), w2=torch.randn(3, 3)).rank == 0


def test_dora_with_the_bases_own_norms_and_no_inner_change_changes_nothing() -> None:
    base = torch.randn(6, 10)
    nothing = Lora(torch.randn(2, 10), torch.zeros(6, 2))
    for magnitude in (base.norm(dim=1), base.norm(dim=0, keepdim=True)):
        assert float(Dora(nothing, magnitude).dense(base).abs().max()) < 1e-6


@pytest.mark.parametrize("size", [(6, 10), (8, 8), (8, 8, 3, 3)])
def test_dora_gives_every_output_or_input_its_magnitude(size: tuple[int, ...]) -> None:
    base = torch.randn(size)
    inner = random_deltas.lora(size)
    magnitude = torch.rand(size[0]) + 1
    changed = base + Dora(inner, magnitude).dense(base)
    torch.testing.assert_close(changed.flatten(1).norm(dim=1), magnitude, rtol=1e-4, atol=1e-5)
    magnitude = torch.rand(1, size[1], *(1,) * (len(size) - 2)) + 1
    delta = Dora(inner, magnitude)
    assert delta.on_inputs
    changed = base + delta.dense(base)
    norms = changed.transpose(0, 1).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, magnitude.flatten(), rtol=1e-4, atol=1e-5)


def test_dora_without_its_base_says_what_it_needs() -> None:
    with pytest.raises(LoraMismatchError, match=r"its change depends on the base weight\. Pass the base weight"):
        random_deltas.dora((6, 10)).dense()


def test_a_full_difference_is_itself() -> None:
    diff = torch.randn(3, 4).half()
    assert torch.equal(Full(diff).dense(), diff.float())
    assert Full(diff).num_bytes == 24
    assert (Full(diff).rank, Full(diff).scale) == (0, 1.0)


def test_bytes_count_every_tensor() -> None:
    delta = random_deltas.dora((6, 10))
    assert delta.num_bytes == sum(math.prod(tensor.shape) * 4 for tensor in delta.tensors())
