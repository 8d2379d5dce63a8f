"""The correction for a base in full precision: its closed form, and what it gains in one layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_core.deltas import Full, LoKr, Lora
from lora_core.errors import UnsupportedLoraError
from lora_core.files.correction import corrected
from lora_core.training.network.packed import PACKINGS


def rounded(weight, base_format="nf4"):
    packing = PACKINGS[base_format]
    return packing.unpack(packing.pack(weight), tuple(weight.shape), weight.dtype)


@settings(max_examples=25, deadline=None)
@given(
    outputs=st.integers(2, 40),
    inputs=st.integers(8, 40),
    rank=st.integers(1, 8),
    scale=st.floats(0.1, 4.0),
    seed=st.integers(0, 99),
)
def test_beside_the_whole_weight_it_acts_as_the_lora_did_beside_the_rounded_one(outputs, inputs, rank, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(outputs, inputs, generator=generator)
    quantised = full + 0.1 * torch.randn(outputs, inputs, generator=generator)
    down, up = torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)
    lora = Lora(down, up, scale=scale)
    mended = corrected(lora, full, quantised, clamp=None)
    read = torch.randn(5, rank, generator=generator) @ down  # inputs in the row space of A
    wanted, found = read @ (quantised + lora.dense()).T, read @ (full + mended.dense()).T
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert mended.rank == rank
    basis = mended.down
    assert torch.allclose(basis @ basis.T, torch.eye(rank), atol=1e-5)


def test_of_an_unrounded_base_the_lora_comes_back():
    torch.manual_seed(0)
    full, lora = torch.randn(30, 20), Lora(torch.randn(4, 20), torch.randn(30, 4), scale=0.5)
    assert (corrected(lora, full, full).dense() - lora.dense()).abs().max() < 1e-6 * lora.dense().abs().max() * 10


def test_the_clamp_bounds_each_row_by_what_was_learnt_there():
    torch.manual_seed(0)
    full, lora = torch.randn(30, 20), Lora(torch.randn(4, 20), 0.01 * torch.randn(30, 4))
    mended = corrected(lora, full, torch.zeros(30, 20))
    basis = mended.down
    before = lora.dense() @ basis.T
    moved = (mended.up - before).abs()
    assert bool((moved <= 3 * before.abs().mean(dim=1, keepdim=True) * (1 + 1e-4)).all())
    assert (moved.amax(dim=1) / before.abs().mean(dim=1)).max() == pytest.approx(3, rel=1e-3)


def test_only_loras_of_layers_have_a_row_space():
    weight = torch.randn(4, 4)
    for delta in (Full(weight), LoKr(w1=torch.randn(2, 2), w2=torch.randn(2, 2))):
        with pytest.raises(UnsupportedLoraError, match=f"kind {delta.kind} has no row space"):
            corrected(delta, weight, weight)


def trained_on(base, wanted, inputs, rank=8, steps=400):
    """Train a LoRA beside a base to imitate another weight, as a QLoRA training does."""
    torch.manual_seed(5)
    down = (torch.randn(rank, base.shape[1]) / base.shape[1] ** 0.5).requires_grad_()
    up = torch.zeros(base.shape[0], rank, requires_grad=True)
    optimizer = torch.optim.Adam([down, up], 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (((base + up @ down - wanted) @ inputs).square().mean()).backward()
        optimizer.step()
    return Lora(down.detach(), up.detach())


def test_in_one_layer_it_takes_away_most_of_the_excess_error():
    """A weak LoRA trained on nf4 is worse than none on the whole weight; corrected it is not (means of 3 seeds)."""
    rows = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        full = torch.randn(256, 256, generator=generator) / 16
        change = torch.randn(256, 4, generator=generator) @ torch.randn(4, 256, generator=generator)
        wanted = full + 0.02 * full.norm() / change.norm() * change
        base, inputs = rounded(full), torch.randn(256, 1024, generator=generator)
        lora = trained_on(base, wanted, inputs)
        mended = corrected(lora, full, base)
        basis = mended.down
        best = full + (wanted - full) @ basis.T @ basis
        used = {"none": full, "plain": full + lora.dense(), "mended": full + mended.dense(), "best": best}
        rows.append({name: float((weight - wanted).square().mean()) for name, weight in used.items()})
    none, plain, mended, best = (sum(row[name] for row in rows) / 3 for name in ("none", "plain", "mended", "best"))
    assert plain > none > mended
    assert (plain - mended) / (plain - best) > 0.5
