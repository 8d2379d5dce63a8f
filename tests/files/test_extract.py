"""Extraction: the LoRA between two checkpoints is the nearest of its rank, whatever they are stored in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_core.apply.attachment import attach
from lora_core.checkpoints.meter import MemoryMeter
from lora_core.deltas import Delta, Full, Lora
from lora_core.errors import ModelError
from lora_core.families.wan.names import to_diffusers
from lora_core.files.by_target import open_base
from lora_core.files.extract import Extraction, _differences, extract_checkpoints, extract_lora
from lora_core.files.read import read_lora
from lora_core.files.write import write_lora
from lora_core.plan.route import RoutedLora

Q, FFN, PATCH = "blocks.0.self_attn.q", "blocks.1.ffn.0", "patch_embedding"


def changes(*shapes: tuple[int, ...], seed: int = 0) -> dict[str, Delta]:
    generator = torch.Generator().manual_seed(seed)
    return {f"blocks.{i}.ffn.0": Full(torch.randn(shape, generator=generator)) for i, shape in enumerate(shapes)}


def least_error(matrix: Tensor, rank: int) -> float:
    values = np.linalg.svd(matrix.double().flatten(1).numpy(), compute_uv=False)
    return float(np.sqrt((values[rank:] ** 2).sum() / (values**2).sum()))


def error_of(extraction: Extraction, whole: Mapping[str, Delta]) -> float:
    """Compute the error anew, from the LoRA alone."""
    lost = [whole[t].dense().double() - extraction.weights.deltas[t].dense().double() for t in whole]
    norms = [delta.dense().double().norm() for delta in whole.values()]
    return float(torch.stack([t.norm() for t in lost]).norm() / torch.stack(norms).norm())


# ---------------------------------------------------------------------------------------------- the mathematics


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    kernel=st.sampled_from([(), (1, 2, 2)]),
    rank=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_a_change_of_a_rank_is_kept_whole_at_that_rank(rows, columns, kernel, rank, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    up = torch.randn(rows, rank, generator=generator)
    down = torch.randn(rank, columns * int(np.prod(kernel)), generator=generator)
    change = {Q: Full((up @ down).reshape(rows, columns, *kernel))}
    extraction = extract_lora(change, rank)
    lora = extraction.weights.deltas[Q]
    assert isinstance(lora, Lora)
    assert (lora.shape, lora.scale) == (change[Q].shape, 1.0)
    assert lora.rank == min(rank, rows, columns * int(np.prod(kernel)))
    assert extraction.error < 1e-5
    torch.testing.assert_close(lora.dense(), change[Q].diff, rtol=1e-5, atol=1e-5 * float(change[Q].diff.abs().max()))


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(4, 30), columns=st.integers(4, 30), seed=st.integers(0, 99))
def test_the_error_is_the_least_there_is_and_falls_with_the_rank(rows, columns, seed) -> None:
    change = changes((rows, columns), seed=seed)
    (matrix,) = (delta.dense() for delta in change.values())
    errors = [extract_lora(change, rank).error for rank in range(1, min(rows, columns) + 1)]
    expected = [least_error(matrix, rank) for rank in range(1, min(rows, columns) + 1)]
    np.testing.assert_allclose(errors, expected, rtol=1e-4, atol=1e-5)
    assert all(more > less for more, less in pairwise(errors))


def test_a_large_matrix_is_decomposed_nearly_as_well_without_the_whole_of_it() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1100, 1040, generator=generator)  # the hardest: no direction stands out
    found = extract_lora({Q: Full(matrix)}, 32)
    assert least_error(matrix, 32) <= found.error < 1.002 * least_error(matrix, 32)
    again = extract_lora({Q: Full(matrix)}, 32)
    assert torch.equal(found.weights.deltas[Q].up, again.weights.deltas[Q].up)
    low = matrix[:, :5] @ matrix[:5]
    assert extract_lora({Q: Full(low)}, 5).error < 1e-5


def test_the_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    extract_lora({Q: Full(torch.ones(1030, 1030))}, 2)
    assert torch.equal(torch.rand(3), expected)


def test_the_error_stated_is_that_of_the_tensors_as_they_are_rounded() -> None:
    whole = changes((30, 20), (20, 40))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        extraction = extract_lora(whole, 20, dtype=dtype)
        assert {t.dtype for d in extraction.weights.deltas.values() for t in d.tensors()} == {dtype}
        assert extraction.error == pytest.approx(error_of(extraction, whole), rel=1e-3, abs=1e-7)
    assert 1e-4 < extract_lora(whole, 20, dtype=torch.float16).error < 1e-3


def test_the_worst_layers_are_named_and_equal_ones_left_out() -> None:
    whole = {**changes((8, 8), (16, 16), (32, 32)), Q: Full(torch.zeros(8, 8)), f"{Q}.bias": Full(torch.ones(8))}
    extraction = extract_lora(whole, 8)
    assert (len(extraction.weights.deltas), extraction.num_equal) == (3, 1)
    assert [fit.target for fit in extraction.worst] == ["blocks.2.ffn.0", "blocks.1.ffn.0", "blocks.0.ffn.0"]
    worst = extraction.worst[0]
    assert worst.error == pytest.approx(least_error(whole[worst.target].dense(), 8), rel=1e-4)
    assert [fit.target for fit in extraction.left_out] == [f"{Q}.bias"]
    lines = extraction.text().splitlines()
    assert lines[0] == f"relative error {extraction.error:.4f} over 3 layers; 1 parameters are equal"
    assert lines[2].startswith("left out: 1 biases, norms and tables, 0.0")
    kept = extract_lora(whole, 8, with_biases=True)
    assert torch.equal(kept.weights.deltas[f"{Q}.bias"].dense(), torch.ones(8))
    assert (kept.left_out, kept.error < extraction.error) == ((), True)


# ---------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def base_state() -> dict[str, Tensor]:
    return tiny.native_state(tiny.transformer())


@pytest.fixture(scope="module")
def tuned_state(base_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The base with a change of rank 3 in some layers, and one of a bias and of a table."""
    generator = torch.Generator().manual_seed(8)
    state = {name: tensor.clone() for name, tensor in base_state.items()}
    for target in (Q, FFN, PATCH):
        weight = state[f"{target}.weight"]
        up = torch.randn(weight.shape[0], 3, generator=generator)
        weight += 0.1 * (up @ torch.randn(3, weight[0].numel(), generator=generator)).reshape(weight.shape)
    state[f"{Q}.bias"] += 0.5
    state["blocks.1.modulation"] += torch.randn(state["blocks.1.modulation"].shape, generator=generator)
    return state


def in_diffusers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {str(to_diffusers(name)): tensor for name, tensor in state.items()}


def save_sharded(state: Mapping[str, Tensor], folder: Path) -> Path:
    folder.mkdir()
    named = in_diffusers_names(state)
    weight_map = {}
    for shard in (0, 1):
        part = {name: named[name] for name in sorted(named)[shard::2]}
        save_file(part, folder / f"part-{shard}.safetensors")
        weight_map |= dict.fromkeys(part, f"part-{shard}.safetensors")
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def save_single(state: Mapping[str, Tensor], path: Path) -> Path:
    save_file(dict(state), path)
    return path


def save_pickle(state: Mapping[str, Tensor], path: Path) -> Path:
    torch.save(dict(state), path)
    return path


FORMS = {
    "native": lambda state, at: save_single(state, at.with_suffix(".safetensors")),
    "under a prefix": lambda state, at: save_single(
        {f"model.diffusion_model.{name}": tensor for name, tensor in state.items()}, at.with_suffix(".safetensors")
    ),
    "diffusers' names": lambda state, at: save_single(in_diffusers_names(state), at.with_suffix(".safetensors")),
    "sharded in a folder": save_sharded,
    "a pickle": lambda state, at: save_pickle(state, at.with_suffix(".pth")),
}


@pytest.mark.parametrize("base_form", ["native", "diffusers' names"])
@pytest.mark.parametrize("form", FORMS)
def test_two_checkpoints_of_any_form_give_what_was_changed(
    form: str, base_form: str, tmp_path: Path, base_state, tuned_state
) -> None:
    base, tuned = FORMS[base_form](base_state, tmp_path / "base"), FORMS[form](tuned_state, tmp_path / "tuned")
    extraction = extract_checkpoints(base, tuned, 3, with_biases=True)
    assert set(extraction.weights.deltas) == {Q, FFN, PATCH, f"{Q}.bias", "blocks.1.modulation"}
    assert extraction.error < 1e-5
    for target, delta in extraction.weights.deltas.items():
        name = target if target in base_state else f"{target}.weight"
        torch.testing.assert_close(delta.dense(), tuned_state[name] - base_state[name], rtol=1e-4, atol=1e-5)
    assert extraction.num_equal == len(base_state) - 5
    assert extraction.notes == ()


def test_the_file_makes_the_base_compute_what_the_other_computes(tmp_path: Path, base_state, tuned_state) -> None:
    base, tuned = (
        FORMS["native"](state, tmp_path / name) for name, state in (("base", base_state), ("mine", tuned_state))
    )
    done = extract_checkpoints(base, tuned, 3, with_biases=True)
    path = write_lora(done.weights, tmp_path / "lora.safetensors")
    module = type(tiny.transformer()).from_config(tiny.transformer().config).requires_grad_(False).eval()
    module.load_state_dict(in_diffusers_names(tuned_state))
    expected = tiny.run(module)
    module.load_state_dict(in_diffusers_names(base_state))
    assert float((tiny.run(module) - expected).norm() / expected.norm()) > 0.05
    weights = read_lora(path, spec=module)
    routed = RoutedLora("x", 0, "low_noise", 1.0, weights.deltas, {}, None, "low_noise", None)
    with attach(module, [routed]):
        torch.testing.assert_close(tiny.run(module), expected, rtol=1e-4, atol=1e-5)
    assert weights.metadata["extracted_from"] == "mine.safetensors"
    assert float(weights.metadata["relative_error"]) == pytest.approx(done.error, abs=1e-6)
    alphas = {name: tensor.item() for name, tensor in load_file(path).items() if name.endswith(".alpha")}
    assert set(alphas.values()) == {3.0}


@pytest.mark.parametrize("form", ["scaled", "comfy_quant", "metadata", "plain"])
def test_8_bit_checkpoints_count_for_what_they_stand_for(form: str, tmp_path: Path) -> None:
    base = tiny.save_fp8(tiny.transformer(0), tmp_path / "base.safetensors", form)
    tuned = tiny.save_fp8(tiny.transformer(1), tmp_path / "tuned.safetensors", form)
    done = extract_checkpoints(base, tuned, 1000, with_biases=True)
    assert done.notes == ("note: base.safetensors, tuned.safetensors in 8 bits: what was rounded counts as a change",)
    first, second = (tiny.fp8_reference(tiny.transformer(seed), scaled=form != "plain") for seed in (0, 1))
    for target in (Q, FFN, PATCH, "head.head", "blocks.0.modulation"):
        name = str(to_diffusers(f"{target}.weight") or to_diffusers(target))
        expected = second[name] - first[name]
        torch.testing.assert_close(done.weights.deltas[target].dense(), expected, rtol=1e-3, atol=1e-5)


def test_the_expert_that_the_lora_acts_on_is_the_bases(tmp_path: Path, base_state, tuned_state) -> None:
    save = FORMS["native"]
    tuned = save(tuned_state, tmp_path / "mine")
    assert extract_checkpoints(save(base_state, tmp_path / "a_high_noise"), tuned, 2).weights.expert == "high_noise"
    assert extract_checkpoints(save(base_state, tmp_path / "a"), tuned, 2).weights.expert is None
    named = save(tuned_state, tmp_path / "mine_low_noise")
    assert extract_checkpoints(tmp_path / "a.safetensors", named, 2).weights.expert == "low_noise"


def test_any_two_files_of_one_architecture_will_do(tmp_path: Path) -> None:
    """Of a network that no family knows, names stand for themselves."""
    first = {"in.weight": torch.zeros(6, 5), "in.bias": torch.zeros(6)}
    second = {"in.weight": torch.ones(6, 5), "in.bias": torch.ones(6)}
    paths = [save_single(s, tmp_path / f"{i}.safetensors") for i, s in enumerate((first, second))]
    done = extract_checkpoints(*paths, 1)
    torch.testing.assert_close(done.weights.deltas["in"].dense(), torch.ones(6, 5))
    assert [fit.target for fit in done.left_out] == ["in.bias"]


def test_neither_checkpoint_is_ever_whole_in_memory(tmp_path: Path) -> None:
    names = [f"blocks.{i}.weight" for i in range(40)]
    paths = [
        save_single({name: torch.randn(256, 256, dtype=torch.float16) for name in names}, tmp_path / f"{i}.safetensors")
        for i in (0, 1)
    ]
    layer = 4 * 256 * 256
    changes = _differences(*map(open_base, paths))  # outside, for the meter takes a mapped file for memory
    with MemoryMeter() as meter:
        extract_lora(changes, 2)
    assert meter.peak < 8 * layer


# ---------------------------------------------------------------------------------------------- bad input


def message(*arguments, **options) -> str:
    with pytest.raises(ModelError) as caught:
        extract_checkpoints(*arguments, **options)
    return str(caught.value)


def test_identical_checkpoints_have_no_difference(tmp_path: Path, base_state) -> None:
    base = FORMS["native"](base_state, tmp_path / "base")
    same = FORMS["diffusers' names"](base_state, tmp_path / "same")
    assert message(base, same, 4) == (
        f"{same}: all {len(base_state)} parameters are the same in both (a checkpoint that was trained on). "
        "Choose another."
    )
    only_bias = dict(base_state)
    only_bias[f"{Q}.bias"] = only_bias[f"{Q}.bias"] + 1
    other = FORMS["native"](only_bias, tmp_path / "other")
    assert message(base, other, 4) == (
        f"{other}: only 1 biases, norms and tables differ, first '{Q}.bias' (a layer's weight). "
        "Keep them in full, with --with-biases."
    )
    assert list(extract_checkpoints(base, other, 4, with_biases=True).weights.deltas) == [f"{Q}.bias"]


def test_another_architecture_is_named_by_what_differs_first(tmp_path: Path, base_state) -> None:
    base = FORMS["native"](base_state, tmp_path / "base")
    wide = tiny.save_native(tiny.transformer(0, in_channels=36), tmp_path / "wide.safetensors")
    assert message(base, wide, 4) == (
        f"{wide}: is of another architecture than base.safetensors: its 'patch_embedding' is 64x36x1x2x2 "
        "(64x16x1x2x2). Give two checkpoints of one model."
    )
    less = FORMS["native"]({n: t for n, t in base_state.items() if "blocks.1" not in n}, tmp_path / "less")
    assert "'blocks.1." in message(base, less, 4)
    assert "is missing and 26 more differ (" in message(base, less, 4)


def test_a_lora_a_gguf_or_a_damaged_file_is_refused(tmp_path: Path, base_state) -> None:
    base = FORMS["native"](base_state, tmp_path / "base")
    lora = write_lora(extract_lora({Q: Full(torch.ones(64, 64))}, 1).weights, tmp_path / "lora.safetensors")
    what = f"{lora}: is a LoRA file, with tensors such as 'diffusion_model.{Q}.lora_"
    assert message(base, lora, 4).startswith(what)
    assert message(lora, base, 4).endswith("(a checkpoint with whole weights). Give the model's file.")
    gguf = tiny.save_gguf(tiny.transformer(), tmp_path / "x.gguf")
    assert message(base, gguf, 4).startswith(f"{gguf}: is packed as GGUF")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(base.read_bytes()[:5000])
    assert message(base, cut, 4).startswith(f"{cut}: damaged or no safetensors file")
    assert (
        message(base, tmp_path / "none.safetensors", 4)
        == f"{tmp_path / 'none.safetensors'}: no such file or folder. Check the path."
    )


def test_numbers_that_are_not_finite_and_ranks_below_1_are_refused(tmp_path: Path, base_state, tuned_state) -> None:
    base = FORMS["native"](base_state, tmp_path / "base")
    state = dict(tuned_state)
    state[f"{FFN}.weight"] = state[f"{FFN}.weight"].clone().index_fill_(0, torch.tensor(0), torch.nan)
    tuned = FORMS["native"](state, tmp_path / "tuned")
    assert message(base, tuned, 4) == (
        f"{tuned}: 64 of 8,192 differences of '{FFN}' are NaN or infinite (finite numbers). "
        "Use checkpoints that are sound."
    )
    assert message(base, tuned, 0) == "rank: 0 is out of range (at least 1). Choose a number in that range."
