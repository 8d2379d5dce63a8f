"""The resizing of one LoRA: the nearest of fewer ranks, of both experts too, and said where nothing is gained."""

from __future__ import annotations

from pathlib import Path

import pytest
import random_deltas
import torch
from tiny_loras import TARGETS, save_lora

from lora_core import LoraWeights, inspect_lora, read_lora, write_lora
from lora_core.deltas import Lora
from lora_core.errors import StackError
from lora_core.merging.recipe import MergeRecipe
from lora_core.merging.resize import resize_lora

Q = "blocks.0.self_attn.q"


def test_a_resized_file_is_the_nearest_of_its_rank_and_keeps_what_it_says_of_itself(tmp_path: Path) -> None:
    told = {"trigger_words": "zib", "expert": "high_noise", "ss_network_dim": "8"}
    source = save_lora(tmp_path / "wide.safetensors", rank=8, metadata=told)
    resized = resize_lora(source, MergeRecipe(rank=2))
    out = resized.write(tmp_path / "narrow.safetensors")
    before, after = read_lora(source), read_lora(out)
    for target in TARGETS:
        values = torch.linalg.svdvals(before.deltas[target].dense().double())
        error = random_deltas.relative_error(after.deltas[target].dense(), before.deltas[target].dense())
        assert error == pytest.approx(float(values[2:].norm() / values.norm()), abs=1e-5)
    assert (after.trigger_words, after.expert, after.ranks) == (("zib",), "high_noise", (2,))
    assert "ss_network_dim" not in after.metadata
    assert "merged from    wide 1; relative error 0." in inspect_lora(out).text()
    assert "MiB instead of" in resized.text()
    assert not resized.text().startswith("no smaller")


def test_a_file_that_comes_out_no_smaller_is_said(tmp_path: Path) -> None:
    source = save_lora(tmp_path / "wide.safetensors", rank=4)
    resized = resize_lora(source, MergeRecipe(rank=64))
    assert not resized.is_smaller
    assert resized.text().startswith("no smaller: ")
    assert resized.made.files[None].error == 0
    assert read_lora(source).deltas[Q].dense().equal(resized.weights.deltas[Q].dense())


@pytest.mark.parametrize("make", [random_deltas.loha, random_deltas.full])
def test_other_kinds_become_loras(make: random_deltas.Make) -> None:
    torch.manual_seed(1)
    weights = LoraWeights(None, "other", {Q: make((64, 64))})
    resized = resize_lora(weights, MergeRecipe(energy=0.9))
    assert isinstance(resized.weights.deltas[Q], Lora)
    assert resized.made.files[None].error <= 0.1**0.5


def test_a_file_of_both_experts_stays_one_and_keeps_to_its_size(tmp_path: Path) -> None:
    torch.manual_seed(2)
    halves = [{Q: random_deltas.lora((64, 64), rank=16)} for _ in range(2)]
    file = tmp_path / "both.safetensors"
    write_lora(LoraWeights(None, "both", halves[0], low_noise_deltas=halves[1]), file, dialect="diffusers")
    resized = resize_lora(file, MergeRecipe(num_bytes=16_000))
    assert resized.made.recipe.num_bytes == 16_000
    out = resized.write(tmp_path / "small.safetensors", dialect="diffusers")
    assert out.stat().st_size <= 16_000 < file.stat().st_size
    weights = read_lora(out)
    assert weights.low_noise_deltas is not None
    assert weights.metadata["merge_layers"] != weights.metadata["merge_layers_low_noise"]
    assert weights.ranks[0] < 16
    assert "high_noise: relative error" in resized.text()


def test_a_dora_needs_its_base_and_a_resize_its_size() -> None:
    weights = LoraWeights(None, "weighted", {Q: random_deltas.dora((64, 64))})
    with pytest.raises(StackError, match=r"weighted: 1 of its changes, such as .*, are DoRA"):
        resize_lora(weights, MergeRecipe(rank=2))
    with pytest.raises(StackError, match="resize: nothing says how small, with the method concat"):
        resize_lora(weights, MergeRecipe())
    base = torch.randn(64, 64)
    resized = resize_lora(weights, MergeRecipe(rank=32), base=lambda expert, target: base)
    whole = weights.deltas[Q].dense(base)
    error = random_deltas.relative_error(resized.weights.deltas[Q].dense(), whole)
    assert resized.made.files[None].error == pytest.approx(error, abs=1e-5)
