"""Dialects: whatever a LoRA file calls its tensors, the same weights are read from it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spellings import AB, DOWN_UP, SPELLINGS, TARGETS, Spelling, diffusers, flat, native, random_pairs, save, spelled

from lora_core.deltas import Full
from lora_core.families.wan.spec import wan_spec
from lora_core.files.dialects import DIALECTS, LEAVES, PREFIXES, Place, WriteDialect, locate, split_leaf
from lora_core.files.read import read_lora

POCKET = wan_spec("wan-pocket")


def assert_same(path: Path, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]], scale: float) -> None:
    for spec in (POCKET, None):
        weights = read_lora(path, spec=spec)
        assert set(weights.deltas) == set(pairs)
        assert weights.account.count("applied") == len(weights.account)
        for target, (down, up) in pairs.items():
            expected = scale * (up @ down)
            torch.testing.assert_close(weights.deltas[target].dense(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_dialect_reads_to_the_same_weights(name: str, suffix: str, tmp_path: Path) -> None:
    pairs = random_pairs(rank=4)
    path = save(tmp_path / f"style{suffix}", spelled(SPELLINGS[name], pairs, alpha=2.0))
    assert_same(path, pairs, scale=0.5)


@settings(max_examples=40, deadline=None)
@given(
    prefix=st.sampled_from([row for row in PREFIXES if row.expert is None]),
    module=st.sampled_from([native, diffusers]),
    leaves=st.sampled_from([AB, DOWN_UP]),
    rank=st.integers(1, 5),
    alpha=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 99),
)
def test_any_prefix_goes_with_any_module_names(
    prefix, module, leaves, rank, alpha, seed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pairs = random_pairs(rank, seed)
    spell = (lambda path: flat(module(path))) if prefix.flat else module
    tensors = spelled(Spelling(prefix.text, spell, leaves, SPELLINGS["comfyui"].alpha), pairs, alpha)
    assert_same(save(tmp_path_factory.mktemp("any") / "x.safetensors", tensors), pairs, scale=alpha / rank)


def test_spellings_may_be_mixed_in_one_file(tmp_path: Path) -> None:
    pairs = random_pairs(rank=4)
    tensors = {}
    for (target, pair), spelling in zip(pairs.items(), SPELLINGS.values(), strict=False):
        tensors |= spelled(spelling, {target: pair}, alpha=2.0)
    assert_same(save(tmp_path / "mixed.safetensors", tensors), pairs, scale=0.5)


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("diffusion_model.transformer_1.", "diffusion_model.transformer_2."),
        ("transformer.", "transformer_2."),
        ("transformer_1.", "transformer_2."),
        ("high_noise_model.", "low_noise_model."),
        ("pipe.dit.", "pipe.dit2."),
        ("lora_unet_transformer_1_", "lora_unet_transformer_2_"),
    ],
)
def test_one_file_may_carry_both_experts(high: str, low: str, tmp_path: Path) -> None:
    spell = flat if high.startswith("lora_unet") else native
    first, second = random_pairs(4, seed=1), random_pairs(4, seed=2)
    tensors = spelled(Spelling(high, spell, AB), first, 4.0) | spelled(Spelling(low, spell, AB), second, 4.0)
    weights = read_lora(save(tmp_path / "both.safetensors", tensors), spec=POCKET)
    assert weights.expert == "both"
    assert weights.expert_source == "the prefix of its tensors"
    assert weights.low_noise_deltas is not None
    for target in TARGETS:
        for expert, pairs in (("high_noise", first), ("low_noise", second)):
            down, up = pairs[target]
            assert torch.equal(weights.for_expert(expert)[target].dense(), up @ down)
            assert torch.equal(weights.only(expert).deltas[target].dense(), up @ down)
            assert weights.only(expert).low_noise_deltas is None


def test_a_file_of_the_second_transformer_alone_is_for_the_low_noise_expert(tmp_path: Path) -> None:
    tensors = spelled(Spelling("transformer_2.", diffusers, AB), random_pairs(4), 4.0)
    weights = read_lora(save(tmp_path / "HIGH.safetensors", tensors), spec=POCKET)
    assert weights.expert == "low_noise"
    assert weights.low_noise_deltas is None
    assert weights.for_expert("high_noise") is weights.for_expert("low_noise")


@pytest.mark.parametrize("block", ["blocks.2", "lora_unet_blocks_2", "transformer.blocks.2"])
def test_diff_m_is_the_modulation_of_a_block(block: str, tmp_path: Path) -> None:
    diff = torch.randn(1, 6, 128)
    weights = read_lora(save(tmp_path / "m.safetensors", {f"{block}.diff_m": diff}), spec=POCKET)
    assert list(weights.deltas) == ["blocks.2.modulation"]
    assert torch.equal(weights.deltas["blocks.2.modulation"].dense(), diff)


@pytest.mark.parametrize(
    ("name", "target", "shape"),
    [
        ("diffusion_model.head.head.diff", "head.head", (64, 128)),
        ("diffusion_model.head.head.diff_b", "head.head.bias", (64,)),
        ("diffusion_model.head.diff_m", "head.modulation", (1, 2, 128)),
        ("diffusion_model.head.modulation.diff", "head.modulation", (1, 2, 128)),
        ("transformer.scale_shift_table.diff", "head.modulation", (1, 2, 128)),
        ("transformer.blocks.1.scale_shift_table.diff", "blocks.1.modulation", (1, 6, 128)),
        ("diffusion_model.patch_embedding.diff", "patch_embedding", (128, 16, 1, 2, 2)),
        ("diffusion_model.patch_embedding.diff_b", "patch_embedding.bias", (128,)),
        ("diffusion_model.blocks.0.self_attn.norm_q.diff", "blocks.0.self_attn.norm_q", (128,)),
        ("diffusion_model.blocks.0.norm3.diff_b", "blocks.0.norm3.bias", (128,)),
        ("lycoris_blocks_0_norm3.w_norm", "blocks.0.norm3", (128,)),
        ("lycoris_blocks_0_norm3.b_norm", "blocks.0.norm3.bias", (128,)),
        ("transformer.blocks.0.norm2.b_norm", "blocks.0.norm3.bias", (128,)),
        ("diffusion_model.time_projection.1.diff_b", "time_projection.1.bias", (768,)),
        ("diffusion_model.blocks.0.self_attn.q.bias.diff", "blocks.0.self_attn.q.bias", (128,)),
        ("diffusion_model.blocks.0.self_attn.q.weight.diff", "blocks.0.self_attn.q", (128, 128)),
    ],
)
def test_differences_find_the_parameter_they_change(
    name: str, target: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    diff = torch.randn(shape)
    weights = read_lora(save(tmp_path / "d.safetensors", {name: diff}), spec=POCKET)
    assert list(weights.deltas) == [target]
    assert isinstance(weights.deltas[target], Full)
    assert torch.equal(weights.deltas[target].dense(), diff)


def test_a_difference_without_its_axes_of_one_gets_them_from_the_model(tmp_path: Path) -> None:
    diff = torch.randn(6, 128)
    weights = read_lora(save(tmp_path / "m.safetensors", {"blocks.0.diff_m": diff}), spec=POCKET)
    assert weights.deltas["blocks.0.modulation"].shape == (1, 6, 128)


def test_a_module_given_as_spec_is_read_by_its_own_names(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.ModuleDict({"proj_in": torch.nn.Linear(8, 16), "conv": torch.nn.Conv2d(4, 6, 3)})

    tensors = {
        "transformer.model.proj_in.lora_A.weight": torch.randn(2, 8),
        "transformer.model.proj_in.lora_B.weight": torch.randn(16, 2),
        "lora_unet_model_conv.lora_down.weight": torch.randn(2, 4, 3, 3),
        "lora_unet_model_conv.lora_up.weight": torch.randn(6, 2, 1, 1),
    }
    weights = read_lora(save(tmp_path / "net.safetensors", tensors), spec=Net())
    assert set(weights.deltas) == {"model.proj_in", "model.conv"}
    assert weights.deltas["model.conv"].shape == (6, 4, 3, 3)
    assert weights.base is None


def test_a_leaf_is_found_under_any_adapter_name_but_never_by_guessing() -> None:
    rows = {leaf.text: leaf for leaf in LEAVES}
    assert split_leaf("a.b.lora_A.default.weight") == ("a.b", rows["lora_A.*.weight"])
    assert split_leaf("a.b.lora_magnitude_vector.default.weight") == ("a.b", rows["lora_magnitude_vector.*.weight"])
    assert split_leaf("a.b.lokr_w1.default") == ("a.b", rows["lokr_w1.*"])
    assert split_leaf("a.b.lora_A.bias") == ("a.b.lora_A.bias", None)
    assert split_leaf("lora_A.weight") == ("lora_A.weight", None)


def test_no_leaf_and_no_prefix_stands_in_its_table_twice() -> None:
    for table in (LEAVES, PREFIXES):
        texts = [row.text for row in table]
        assert len(set(texts)) == len(texts)
    assert set(get_args(WriteDialect)) == set(DIALECTS)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_leaf_and_prefix_that_is_written_is_one_that_is_read(name: str) -> None:
    dialect, module = DIALECTS[name], "blocks.0.self_attn.q"
    for prefix in filter(None, dialect.prefixes):
        assert prefix in PREFIXES
        assert locate(prefix.text + module, POCKET) == Place(module, module, prefix, prefix.expert)
    written = [leaf for leaf in LEAVES if dialect.style in leaf.styles]
    assert [leaf.text for leaf in written] == list(dialect.leaves.values())  # no field has two leaves
    for leaf in written:
        assert split_leaf(f"{module}.{leaf.text}") == (module, leaf)
