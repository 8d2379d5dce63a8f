"""A LoRA file corrected for the base that its own was rounded from."""

import pytest
import tiny
import torch
from tiny_loras import TARGETS, save_lora

from lora_core import LoraWeights, correct_lora, read_lora
from lora_core.deltas import Full, Lora
from lora_core.errors import LoraCoreError, LoraMismatchError, ModelError, UnsupportedLoraError
from lora_core.training.network.packed import PACKINGS


@pytest.fixture
def base(tmp_path):
    return tiny.save_native(tiny.transformer(0), tmp_path / "base.safetensors")


@pytest.fixture
def lora(tmp_path):
    return save_lora(tmp_path / "style.safetensors", 3, size=0.3)


@pytest.mark.parametrize("rounding", ["nf4", "fp8", "int8"])
def test_every_layer_is_corrected_by_what_packing_took_from_it(base, lora, rounding):
    done = correct_lora(lora, base, rounding)
    before, state = read_lora(lora).deltas, tiny.native_state(tiny.transformer(0))
    assert set(done.weights.deltas) == set(TARGETS)
    for target, delta in done.weights.deltas.items():
        full, packing = state[f"{target}.weight"], PACKINGS[rounding]
        quantised = packing.unpack(packing.pack(full), tuple(full.shape), full.dtype)
        read = torch.randn(8, before[target].rank) @ before[target].down.float()
        wanted = read @ (quantised + before[target].dense()).T
        error, plain = ((read @ (full + d.dense()).T - wanted).abs().max() for d in (delta, before[target]))
        assert error < 1e-4 * wanted.abs().max()
        assert error < plain / 10
    assert done.weights.metadata["corrected_from"] == rounding
    assert f"corrected {len(TARGETS)} layers" in done.text()
    assert 0.0005 < done.rounding < 0.15


def test_what_cannot_be_corrected_is_refused(tmp_path, base, lora):
    with pytest.raises(ModelError, match="rounding: unknown value 'nf5'"):
        correct_lora(lora, base, "nf5")
    wrong = LoraWeights(None, "wide", {"blocks.0.self_attn.q": Lora(torch.randn(2, 128), torch.randn(128, 2))})
    with pytest.raises(LoraMismatchError, match="does not fit"):
        correct_lora(wrong, base, "fp8")
    full = LoraWeights(None, "full", {"blocks.0.self_attn.q": Full(torch.randn(64, 64))})
    with pytest.raises(UnsupportedLoraError, match="kind full"):
        correct_lora(full, base, "fp8")
    packed = tiny.save_fp8(tiny.transformer(0), tmp_path / "fp8.safetensors", "scaled")
    with pytest.raises(ModelError, match="is itself in 8 bits"):
        correct_lora(lora, packed, "nf4")
    both = LoraWeights(None, "both", read_lora(lora).deltas, low_noise_deltas=read_lora(lora).deltas)
    with pytest.raises(LoraCoreError, match="a LoRA for each expert"):
        correct_lora(both, base, "fp8")
