"""The fused change against its definition: base plus the dense form of each delta, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from random_deltas import CONVOLUTION, LINEAR, NumbersMade, dense_weight, full, lora, relative_error
from torch import Tensor

from lora_core.apply import factors as factors_module
from lora_core.apply import fused as fused_module
from lora_core.apply.fused import FusedDelta, Strengths, Term
from lora_core.apply.layers import choose_side
from lora_core.deltas import Delta, Lora
from lora_core.errors import LoraMismatchError

EXACT = 1e-5
strength_values = st.floats(-2, 2).map(lambda value: round(value, 3))


def fuse(weight: Tensor, deltas: list[Delta], factor: float = 1.0) -> FusedDelta:
    return FusedDelta(weight.shape, [Term(index, delta, factor) for index, delta in enumerate(deltas)])


def on_activations(fused: FusedDelta, x: Tensor, weight: Tensor, bias: Tensor | None, strengths: Strengths) -> Tensor:
    y = F.linear(x, weight, bias)
    return fused.add_branch(x, y, strengths, read_weight=lambda: weight, bias=bias)


def on_weight(fused: FusedDelta, x: Tensor, weight: Tensor, bias: Tensor | None, strengths: Strengths) -> Tensor:
    return F.linear(x, fused.changed_weight(weight, strengths), bias)


SIDES = {"activation": on_activations, "branch first": FusedDelta.linear, "weight": on_weight}


@pytest.mark.parametrize("side", SIDES)
@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(LINEAR)), min_size=1, max_size=5),
    schedule=st.lists(st.lists(strength_values, min_size=5, max_size=5), min_size=1, max_size=3),
    num_outputs=st.sampled_from([4, 6, 16]),
    num_inputs=st.sampled_from([8, 10]),
    has_bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_mixed_stack_equals_base_plus_dense_deltas_at_every_step(
    side: str,
    kinds: list[str],
    schedule: list[list[float]],
    num_outputs: int,
    num_inputs: int,
    has_bias: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    weight, x = torch.randn(num_outputs, num_inputs), torch.randn(2, 3, num_inputs)
    bias = torch.randn(num_outputs) if has_bias else None
    deltas = [LINEAR[kind](weight.shape) for kind in kinds]
    fused, strengths = fuse(weight, deltas), Strengths([0.0] * len(deltas))
    for step in schedule:
        strengths.set(step[: len(deltas)])
        reference_weight = dense_weight(weight, deltas, strengths.values)
        reference = F.linear(x.double(), reference_weight, None if bias is None else bias.double())
        # Changes may cancel: the error is measured against what was summed, not against what is left.
        scale = F.linear(x.double().abs(), reference_weight.abs()).norm() / reference.norm()
        y = SIDES[side](fused, x, weight, bias, strengths)
        assert relative_error(y, reference) < EXACT * max(1.0, float(scale))


@pytest.mark.parametrize("kind", sorted(LINEAR))
@pytest.mark.parametrize("side", SIDES)
def test_every_kind_is_exact_on_both_sides(kind: str, side: str) -> None:
    torch.manual_seed(1)
    weight, bias, x = torch.randn(48, 32), torch.randn(48), torch.randn(7, 32)
    delta = LINEAR[kind](weight.shape)
    y = SIDES[side](fuse(weight, [delta], factor=0.5), x, weight, bias, Strengths([0.8]))
    reference = F.linear(x.double(), dense_weight(weight, [delta], [0.4]), bias.double())
    assert relative_error(y, reference) < EXACT


@pytest.mark.parametrize("kind", sorted(CONVOLUTION))
def test_every_kind_is_exact_on_both_sides_of_a_convolution(kind: str) -> None:
    torch.manual_seed(2)
    weight, bias, x = torch.randn(8, 4, 1, 2, 2), torch.randn(8), torch.randn(2, 4, 3, 4, 4)
    stride = (1, 2, 2)
    deltas = [CONVOLUTION[kind](weight.shape), lora(weight.shape)]
    fused, strengths = fuse(weight, deltas), Strengths([0.7, -0.3])
    reference = F.conv3d(x.double(), dense_weight(weight, deltas, strengths.values), bias.double(), stride)
    on_weight = F.conv3d(x, fused.changed_weight(weight, strengths), bias, stride)
    on_activations = fused.add_branch(
        x,
        F.conv3d(x, weight, bias, stride),
        strengths,
        read_weight=lambda: weight,
        multiply=lambda x, weight: F.conv3d(x, weight, None, stride),
    )
    assert relative_error(on_weight, reference) < EXACT
    assert relative_error(on_activations, reference) < EXACT


@pytest.mark.parametrize("shape", [(6,), (1, 6, 8), (1, 8), (1, 2, 8)])
def test_vectors_and_tables_take_differences_of_the_whole_stack(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    parameter, deltas = torch.randn(shape), [full(shape), full(shape)]
    changed = fuse(parameter, deltas).changed_weight(parameter, Strengths([0.5, -1.5]))
    assert relative_error(changed, dense_weight(parameter, deltas, [0.5, -1.5])) < EXACT


@pytest.mark.parametrize("strength", [0.05, 0.2])
@pytest.mark.parametrize("side", ["branch first", "weight"])
def test_a_bfloat16_layer_is_no_further_from_float32_than_a_float32_merge(side: str, strength: float) -> None:
    torch.manual_seed(4)
    errors, merged_errors = [], []
    for _ in range(8):
        weight = (torch.randn(96, 128) / 128**0.5).bfloat16()
        bias, x = (0.1 * torch.randn(96)).bfloat16(), torch.randn(200, 128).bfloat16()
        delta = Lora(torch.randn(16, 128) / 128**0.5, torch.randn(96, 16) / 16**0.5)
        reference_weight = dense_weight(weight, [delta], [strength])
        reference = F.linear(x.double(), reference_weight, bias.double())
        merged = (weight.float() + strength * delta.dense()).bfloat16()
        y = SIDES[side](fuse(weight, [delta]), x, weight, bias, Strengths([strength]))
        assert y.dtype == torch.bfloat16
        errors.append(relative_error(y, reference))
        merged_errors.append(relative_error(F.linear(x, merged, bias), reference))
    assert sum(errors) <= sum(merged_errors) * 1.0001


def test_the_weight_side_rounds_exactly_as_a_float32_merge_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    monkeypatch.setattr(fused_module, "_BLOCK_NUMEL", 64)  # several blocks of rows
    weight, delta = torch.randn(50, 32).bfloat16(), lora((50, 32), scale=1.0)
    changed = fuse(weight, [delta]).changed_weight(weight, Strengths([0.5]))
    merged = torch.addmm(weight.float(), 0.5 * delta.up, delta.down)
    assert changed.dtype == torch.bfloat16
    assert (changed != merged.bfloat16()).float().mean() < 0.01  # sums in another order may round the other way
    assert relative_error(changed, merged) < 2**-8


def test_products_in_half_precision_as_on_accelerators_stay_close_to_the_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(6)
    monkeypatch.setattr(fused_module, "product_dtype", lambda dtype, device: dtype)
    weight = (torch.randn(96, 128) / 128**0.5).bfloat16()
    delta = Lora(torch.randn(16, 128) / 128**0.5, 0.1 * torch.randn(96, 16) / 16**0.5)
    reference = dense_weight(weight, [delta], [1.0])
    changed = fuse(weight, [delta]).changed_weight(weight, Strengths([1.0]))
    assert relative_error(changed, reference) < 1.03 * relative_error(reference.bfloat16(), reference)


@pytest.mark.parametrize("kind", sorted(LINEAR))
def test_strength_zero_everywhere_changes_no_bit(kind: str) -> None:
    torch.manual_seed(7)
    weight, x = torch.randn(8, 6), torch.randn(5, 6)
    fused, strengths = fuse(weight, [LINEAR[kind](weight.shape)]), Strengths([0.0])
    assert fused.changed_weight(weight, strengths) is weight
    for side in SIDES.values():
        assert torch.equal(side(fused, x, weight, None, strengths), F.linear(x, weight))


def test_the_branch_is_added_in_place_and_the_base_is_never_written() -> None:
    weight, x = torch.randn(8, 6), torch.randn(2, 5, 6)
    base, before = weight.clone(), F.linear(x, weight)
    fused, strengths = fuse(weight, [lora(weight.shape), full(weight.shape)]), Strengths([1.0, 1.0])
    assert fused.add_branch(x, before, strengths, read_weight=lambda: weight) is before
    scratch = torch.empty(8, 6)
    assert fused.changed_weight(weight, strengths, scratch) is scratch
    assert torch.equal(weight, base)


def test_an_own_copy_may_be_changed_in_place() -> None:
    weight, deltas = torch.randn(8, 6), [lora((8, 6)), lora((8, 6))]
    reference = dense_weight(weight, deltas, [1.0, 0.5])
    for dtype, tolerance in ((torch.float32, EXACT), (torch.bfloat16, 2**-7)):
        own = weight.to(dtype, copy=True)
        assert fuse(weight, deltas).changed_weight(own, Strengths([1.0, 0.5]), out=own) is own
        assert relative_error(own, reference) < tolerance


def test_all_low_rank_changes_become_one_pair_of_matrices() -> None:
    fused = FusedDelta((8, 6), [Term(0, lora((8, 6), rank=3)), Term(2, lora((8, 6), rank=5), factor=0.5)])
    placed = fused.factors_on(torch.device("cpu"), torch.float32, None)
    assert placed.down.shape == (8, 6)
    assert placed.up.shape == (8, 8)
    assert placed.multiplier(Strengths([2.0, 9.0, 4.0])).tolist() == [1.0] * 3 + [1.0] * 5
    assert fused.indices == (0, 2)
    assert fused.num_bytes == 4 * (3 * 14 + 5 * 14)


def test_factors_are_copied_once_and_given_up_when_moving_away(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    gather = factors_module.gather
    monkeypatch.setattr(fused_module, "gather", lambda *args: calls.append(args) or gather(*args))
    weight, strengths = torch.randn(8, 6), Strengths([1.0])
    fused = fuse(weight, [lora(weight.shape)])
    for value in (1.0, 0.5, 0.25):
        strengths.set([value])
        fused.changed_weight(weight, strengths)
    assert len(calls) == 1
    assert fused.move_to("cpu") == fused.num_bytes
    fused.changed_weight(weight, strengths)
    assert len(calls) == 1
    fused.leave_all_but(torch.device("meta"))
    fused.changed_weight(weight, strengths)
    fused.changed_weight(weight, strengths)
    assert len(calls) == 2


def test_a_copy_needed_away_from_where_they_are_kept_lasts_for_the_call() -> None:
    weight, strengths = torch.randn(8, 6), Strengths([1.0])
    fused = fuse(weight, [lora(weight.shape)])
    expected = fused.changed_weight(weight, strengths)
    assert fused.move_to("meta") == fused.num_bytes
    assert not fused._factors
    assert torch.equal(fused.changed_weight(weight, strengths), expected)
    assert not fused._factors
    fused.move_to("cpu")
    fused.changed_weight(weight, strengths)
    assert fused._factors


def test_setting_strengths_computes_on_nothing_but_the_strengths() -> None:
    weight = torch.randn(64, 64)
    layers = [fuse(weight, [lora(weight.shape), lora(weight.shape)]) for _ in range(20)]
    strengths = Strengths([1.0, 1.0])
    for layer in layers:
        layer.changed_weight(weight, strengths)
    with NumbersMade() as made:
        strengths.set([0.5, 0.0])
    assert made.total <= 2 * len(strengths.values)


def test_strengths_reach_copies_that_were_made_before() -> None:
    strengths = Strengths([1.0, 0.0])
    copy = strengths.on(torch.device("cpu"))
    strengths.set([0.0, -0.5])
    assert copy.tolist() == [0.0, -0.5]
    assert strengths.active == (False, True)


def test_factors_made_under_inference_mode_serve_outside_of_it() -> None:
    weight, x = torch.randn(8, 6), torch.randn(5, 6)
    fused, strengths = fuse(weight, [LINEAR["dora"](weight.shape)]), Strengths([1.0])
    with torch.inference_mode():
        inside = on_activations(fused, x, weight, None, strengths)
        strengths.set([0.5])
    x.requires_grad_(True)
    outside = on_activations(fused, x, weight, None, strengths)
    outside.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert not torch.equal(inside, outside)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["lora", "loha", "dora"])
def test_gradients_reach_the_input(kind: str, side: str) -> None:
    torch.manual_seed(8)
    weight, x = torch.randn(8, 6), torch.randn(5, 6, requires_grad=True)
    delta = LINEAR[kind](weight.shape)
    y = SIDES[side](fuse(weight, [delta]), x, weight.requires_grad_(True), None, Strengths([0.7]))
    y.sum().backward()
    expected = dense_weight(weight.detach(), [delta], [0.7]).sum(0).expand(5, 6)
    assert relative_error(x.grad, expected) < EXACT


@pytest.mark.parametrize(
    ("num_tokens", "base", "is_thin", "side"),
    [
        (2559, "float", True, "activation"),
        (2560, "float", True, "weight"),
        (1280, "dequantised", True, "weight"),
        (512, "dequantised", True, "activation"),
        (32_760, "low_bit", True, "activation"),
        (32_760, "elsewhere", True, "activation"),
        (1, "float", False, "weight"),
        (1, "low_bit", False, "activation"),
    ],
)
def test_the_side_follows_from_tokens_and_base(num_tokens: int, base: str, is_thin: bool, side: str) -> None:
    assert choose_side(num_tokens, 5120, 5120, base, is_thin=is_thin) == side


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(0, 100_000))
def test_the_side_is_the_one_with_fewer_multiplications(num_inputs: int, num_outputs: int, num_tokens: int) -> None:
    branch, weight = num_tokens * (num_inputs + num_outputs), num_inputs * num_outputs
    assert choose_side(num_tokens, num_inputs, num_outputs) == ("weight" if branch >= weight else "activation")


@pytest.mark.parametrize("kind", ["lora", "dora", "dora_on_inputs", "loha", "full"])
def test_a_change_of_a_table_may_be_stored_without_its_axis_of_one(kind: str) -> None:
    table, delta = torch.randn(1, 6, 8), LINEAR[kind]((6, 8))
    changed = fuse(table, [delta], factor=0.5).changed_weight(table, Strengths([0.8]))
    expected = table + 0.4 * delta.dense(table).reshape(table.shape)
    torch.testing.assert_close(changed, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("side", SIDES)
def test_a_lora_whose_outputs_are_not_the_rows_acts_on_every_side(side: str, kind: str) -> None:
    weight, x, bias = torch.randn(1, 8), torch.randn(5, 8), torch.randn(1)
    delta = LINEAR[kind]((8, 1))
    y = SIDES[side](fuse(weight, [delta]), x, weight, bias, Strengths([0.8]))
    expected = x @ (weight + 0.8 * delta.dense(weight).reshape(1, 8)).T + bias
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


def test_dora_asks_for_the_base_it_needs() -> None:
    fused = fuse(torch.randn(8, 6), [LINEAR["dora"]((8, 6))])
    with pytest.raises(LoraMismatchError, match="Pass the base weight"):
        fused.add_branch(torch.randn(5, 6), torch.randn(5, 8), Strengths([1.0]))
