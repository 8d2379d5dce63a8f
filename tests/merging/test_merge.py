"""The merge of a stack: it acts as the stack does, and what it loses is what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import random_deltas
import tiny
import torch
from loading import routed
from safetensors.torch import save_file

from lora_core import LoraEntry, LoraStack, LoraWeights, attach, load_stack, read_lora
from lora_core.deltas import Delta, Dora, Full, Lora
from lora_core.errors import StackError
from lora_core.families.base import ModelSpec
from lora_core.families.registry import spec_named, spec_of_module
from lora_core.merging.merge import merge_loras
from lora_core.merging.merged import Merged
from lora_core.merging.recipe import SPARSE, MergeRecipe
from lora_core.merging.resize import resize_lora
from lora_core.stack.region import Region
from lora_core.stack.time_curve import TimeCurve

Q, K, FFN = "blocks.0.self_attn.q", "blocks.0.self_attn.k", "blocks.1.ffn.0"
SHAPES = {Q: (64, 64), K: (64, 64), FFN: (128, 64)}
STRENGTHS = (0.8, -0.6, 1.3)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return spec_of_module(tiny.transformer())


def lora(name: str, make: Callable[..., Delta] = random_deltas.lora, **more: Delta) -> LoraWeights:
    return LoraWeights(None, name, {target: make(shape) for target, shape in SHAPES.items()} | more)


def stack_of(*loras: LoraWeights) -> LoraStack:
    stack = LoraStack()
    for weights, strength in zip(loras, STRENGTHS, strict=False):
        stack = stack.add(weights, strength)
    return stack


def three() -> LoraStack:
    torch.manual_seed(0)
    return stack_of(lora("first"), lora("second"), lora("third"))


def sum_of(stack: LoraStack, target: str, base: torch.Tensor | None = None) -> torch.Tensor:
    """Return the definition that a merge is held against, in float64."""
    rows = [(row.strength, row.weights.deltas[target]) for row in stack if row.weights and target in row.weights.deltas]
    return sum((strength * delta.dense(base).double() for strength, delta in rows), torch.zeros(()).double())


def only(merged: Merged) -> Mapping[str, Delta]:
    assert set(merged.files) == {None}
    return merged.files[None].weights.deltas


@pytest.mark.parametrize("make", [random_deltas.lora, random_deltas.loha, random_deltas.lokr_low_rank])
def test_side_by_side_each_change_is_the_sum_of_the_stacks(spec: ModelSpec, make: Callable[..., Delta]) -> None:
    torch.manual_seed(1)
    stack = stack_of(lora("first"), lora("second", make), lora("third"))
    deltas = only(merge_loras(stack, spec))
    for target in SHAPES:
        assert isinstance(deltas[target], Lora)
        assert random_deltas.relative_error(deltas[target].dense(), sum_of(stack, target)) < 1e-6


def test_a_merged_file_predicts_what_the_stack_predicts(spec: ModelSpec, tmp_path: Path) -> None:
    network, stack = tiny.transformer(), three()
    file = merge_loras(stack, spec).write(tmp_path / "one.safetensors")[0]
    base = tiny.run(network)
    with attach(network, routed(stack, spec).low_noise, spec):
        wanted = tiny.run(network)
    with attach(network, routed(LoraStack().add(file), spec).low_noise, spec):
        found = tiny.run(network)
    assert random_deltas.relative_error(wanted, base) > 0.01
    assert random_deltas.relative_error(found, wanted) < 1e-6


def test_bfloat16_sources_stay_exact_where_a_strength_would_round_them(spec: ModelSpec) -> None:
    torch.manual_seed(2)
    narrow = [LoraWeights(None, name, {Q: random_deltas.lora((64, 64)).to(torch.bfloat16)}) for name in ("a", "b")]
    stack = stack_of(*narrow)
    delta = only(merge_loras(stack, spec))[Q]
    assert isinstance(delta, Lora)
    assert (delta.down.dtype, delta.up.dtype) == (torch.bfloat16, torch.float32)
    assert random_deltas.relative_error(delta.dense(), sum_of(stack, Q)) < 1e-6
    rounded = merge_loras(stack, spec, MergeRecipe(dtype=torch.bfloat16)).files[None]
    error = random_deltas.relative_error(rounded.weights.deltas[Q].dense(), sum_of(stack, Q))
    assert rounded.error == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_the_error_of_fewer_ranks_is_the_energy_left_out(spec: ModelSpec, rank: int) -> None:
    stack = three()
    merged = merge_loras(stack, spec, MergeRecipe(rank=rank))
    for fit in merged.files[None].fits:
        whole = sum_of(stack, fit.target)
        values = torch.linalg.svdvals(whole)
        assert fit.rank == rank
        assert fit.error == pytest.approx(float(values[rank:].norm() / values.norm()), abs=1e-5)
        made = only(merged)[fit.target].dense()
        assert random_deltas.relative_error(made, whole) == pytest.approx(fit.error, abs=1e-5)


def test_no_more_ranks_are_kept_than_there_are(spec: ModelSpec) -> None:
    file = merge_loras(three(), spec, MergeRecipe(rank=60)).files[None]
    assert {fit.rank for fit in file.fits} == {9}
    assert file.error < 1e-6


def test_energy_keeps_the_fewest_ranks_that_hold_it(spec: ModelSpec) -> None:
    stack = three()
    for fit in merge_loras(stack, spec, MergeRecipe(energy=0.8)).files[None].fits:
        squares = torch.linalg.svdvals(sum_of(stack, fit.target)).square().cumsum(0)
        assert squares[fit.rank - 1] >= 0.8 * squares[-1] > squares[fit.rank - 2]


def test_a_file_of_a_size_holds_the_ranks_that_matter_most(spec: ModelSpec, tmp_path: Path) -> None:
    stack = three()
    merged = merge_loras(stack, spec, MergeRecipe(num_bytes=14_000))
    file = merged.write(tmp_path / "small.safetensors")[0]
    assert 9_000 < file.stat().st_size <= 14_000
    taken = {fit.target: fit.rank for fit in merged.files[None].fits}
    equal = merge_loras(stack, spec, MergeRecipe(rank=max(1, sum(taken.values()) // 3))).files[None]
    assert merged.files[None].error < equal.error + 0.05
    with pytest.raises(StackError, match="5,000 bytes hold nothing of 3 layers"):
        merge_loras(stack, spec, MergeRecipe(num_bytes=5_000))


@pytest.mark.parametrize("make", [random_deltas.dora, random_deltas.full, random_deltas.lokr, random_deltas.glora])
def test_what_is_not_thin_becomes_the_nearest_of_a_rank(spec: ModelSpec, make: Callable[..., Delta]) -> None:
    torch.manual_seed(3)
    bases = {target: torch.randn(shape) for target, shape in SHAPES.items()}
    stack = stack_of(lora("first"), lora("second", make))
    merged = merge_loras(stack, spec, MergeRecipe(rank=6), base=lambda expert, target: bases[target])
    for fit in list(merged.files.values())[-1].fits:
        whole = sum_of(stack, fit.target, bases[fit.target])
        tail = torch.linalg.svdvals(whole)[6:].norm() / whole.norm()
        assert fit.error == pytest.approx(float(tail), abs=1e-5)


def test_differences_in_full_stay_in_full_side_by_side(spec: ModelSpec) -> None:
    torch.manual_seed(4)
    stack = stack_of(lora("first"), lora("second", random_deltas.full))
    merged = merge_loras(stack, spec)
    for target in SHAPES:
        assert random_deltas.relative_error(only(merged)[target].dense(), sum_of(stack, target)) < 1e-6
    assert "biases, norms, tables and differences in full: 3" in merged.text()


def test_biases_norms_and_tables_add_in_full(spec: ModelSpec) -> None:
    torch.manual_seed(5)
    extras = {
        "blocks.0.self_attn.q.bias": (64,),
        "blocks.0.self_attn.norm_q": (64,),
        "blocks.0.modulation": (1, 6, 64),
    }
    stack = stack_of(*(lora(name, **{t: Full(torch.randn(s)) for t, s in extras.items()}) for name in ("a", "b")))
    for recipe in (MergeRecipe(), MergeRecipe(rank=2), MergeRecipe(method="ties")):
        deltas = only(merge_loras(stack, spec, recipe))
        for target in extras:
            assert isinstance(deltas[target], Full)
            assert random_deltas.relative_error(deltas[target].dense(), sum_of(stack, target)) < 1e-6


def test_what_depends_on_a_base_is_refused_by_name(spec: ModelSpec) -> None:
    stack = stack_of(lora("first"), lora("weighted", random_deltas.dora))
    with pytest.raises(StackError, match=rf"weighted: 3 of its changes, such as {Q}, are DoRA, and how"):
        merge_loras(stack, spec, MergeRecipe(rank=2))
    with pytest.raises(StackError, match=r"weighted: 3 of its .*, are DoRA, which is no sum of ranks\. Give a rank"):
        merge_loras(stack, spec, base=lambda expert, target: torch.zeros(SHAPES[target]))


@pytest.mark.parametrize("method", SPARSE)
def test_a_sparse_merge_does_not_depend_on_the_order(spec: ModelSpec, method: str) -> None:
    torch.manual_seed(6)
    rows = list(stack_of(lora("first"), lora("second"), lora("third")))
    recipe = MergeRecipe(method=method, density=0.6)  # type: ignore[arg-type]  # one of SPARSE
    one, other = (only(merge_loras(LoraStack(tuple(order)), spec, recipe)) for order in (rows, rows[::-1]))
    same = [random_deltas.relative_error(one[target].dense(), other[target].dense()) < 1e-3 for target in SHAPES]
    assert all(same) is (method != "dare")  # which draws for each LoRA by its place


def test_dare_is_seeded_and_keeps_the_sum_where_nothing_is_dropped(spec: ModelSpec) -> None:
    stack = three()
    first, again, other = (
        only(merge_loras(stack, spec, MergeRecipe(method="dare", seed=s)))[Q].dense() for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert random_deltas.relative_error(other, first) > 0.1
    assert merge_loras(stack, spec, MergeRecipe(method="dare", density=1.0)).files[None].error < 1e-6


@pytest.mark.parametrize("method", ["ties", "knots"])
def test_ties_of_one_and_the_same_change_is_that_change(spec: ModelSpec, method: str) -> None:
    torch.manual_seed(7)
    weights = lora("twin")
    stack = LoraStack().add(weights).add(weights, name="other twin")
    deltas = only(merge_loras(stack, spec, MergeRecipe(method=method, density=1.0)))  # type: ignore[arg-type]
    for target in SHAPES:
        assert random_deltas.relative_error(deltas[target].dense(), weights.deltas[target].dense()) < 1e-5


@pytest.mark.parametrize("method", SPARSE)
def test_the_error_told_of_a_sparse_merge_is_its_distance_from_the_stack(spec: ModelSpec, method: str) -> None:
    stack = three()
    merged = merge_loras(stack, spec, MergeRecipe(method=method, rank=5))  # type: ignore[arg-type]
    for fit in merged.files[None].fits:
        distance = random_deltas.relative_error(only(merged)[fit.target].dense(), sum_of(stack, fit.target))
        assert fit.error == pytest.approx(distance, abs=1e-5)


def test_a_stack_that_differs_by_expert_gives_a_pair_of_twins(tmp_path: Path) -> None:
    stack = LoraStack().add("neon_style", 0.5).add("zibbo_character", 0.7)
    pocket = spec_named("pocket")
    loaded = load_stack(stack, pocket)
    merged = merge_loras(loaded, recipe=MergeRecipe(rank=8))
    files = merged.write(tmp_path / "both.safetensors")
    assert [file.name for file in files] == ["both_high_noise.safetensors", "both_low_noise.safetensors"]
    high, low = (read_lora(file) for file in files)
    assert (high.expert, low.expert) == ("high_noise", "low_noise")
    found = load_stack(LoraStack().add(files[0]), pocket)
    assert found.loras[0].entry.low_noise_path == files[1]
    told = json.loads(high.metadata["merged_from"])
    assert [row["strength"] for row in told] == [0.5, 0.7]
    assert all(len(row["sha256"]) == 64 and row["file"].endswith(".safetensors") for row in told)
    assert json.loads(high.metadata["merge"])["relative_error"] == merged.files["high_noise"].error
    assert json.loads(high.metadata["merge_layers"])[Q] == [8, pytest.approx(merged.files["high_noise"].fits[0].error)]
    assert "zibbo" in high.trigger_words


def test_a_filter_is_folded_in_and_a_row_for_one_expert_gives_one_file(tmp_path: Path) -> None:
    torch.manual_seed(8)
    pocket = spec_named("pocket")
    shape = pocket.shapes[Q]
    weights = LoraWeights(
        None, "own", {Q: random_deltas.lora(shape), "blocks.1.self_attn.q": random_deltas.lora(shape)}
    )
    stack = LoraStack().add(weights, 2.0, "low_noise", target_filter="0=0.25,otherwise=0")
    merged = merge_loras(stack, pocket)
    assert set(merged.files) == {"low_noise"}
    deltas = merged.files["low_noise"].weights.deltas
    assert set(deltas) == {Q}
    assert torch.allclose(deltas[Q].dense(), 0.5 * weights.deltas[Q].dense(), atol=1e-6)
    assert merged.files["low_noise"].sources[0].targets == "0=0.25,otherwise=0"
    assert [file.name for file in merged.write(tmp_path / "own.safetensors")] == ["own.safetensors"]


def test_one_file_serves_both_experts_where_they_get_the_same() -> None:
    pocket = spec_named("pocket")
    weights = LoraWeights(None, "same", {Q: random_deltas.lora(pocket.shapes[Q])})
    assert set(merge_loras(LoraStack().add(weights), pocket).files) == {None}
    apart = merge_loras(LoraStack().add(weights, 1.0, low_noise_strength=0.5), pocket)
    assert set(apart.files) == {"high_noise", "low_noise"}
    shape = pocket.shapes[Q]
    weighted = LoraStack().add(LoraWeights(None, "dora", {Q: Dora(random_deltas.lora(shape), torch.ones(shape[0]))}))
    bases = {"high_noise": torch.ones(shape), "low_noise": torch.full(shape, 2.0)}
    on_bases = merge_loras(weighted, pocket, MergeRecipe(rank=2), base=lambda expert, target: bases[expert])
    assert set(on_bases.files) == set(bases)


def test_a_schedule_cannot_be_held_and_is_said_or_refused(spec: ModelSpec) -> None:
    first, second = three().entries[:2]
    stack = (
        LoraStack()
        .add(lora("fading"), 0.5, schedule="fade_out")
        .add(LoraEntry("off", weights=second.weights, enabled=False))
    )
    merged = merge_loras(stack.add(first), spec)
    assert merged.notes[0].startswith("note: fading: no file can hold the schedule fade_out; merged at 0.5 throughout")
    assert merged.notes[1] == "note: off is off and left out"
    with pytest.raises(StackError, match="LoRA 'fading': no file can hold the schedule fade_out"):
        merge_loras(stack, spec, schedules="refuse")


@pytest.mark.parametrize("place", [{"region": Region.parse("left")}, {"over_time": TimeCurve.parse("from 2s")}])
def test_a_row_that_acts_in_a_part_of_the_clip_is_refused(spec: ModelSpec, place: dict[str, object]) -> None:
    stack = LoraStack().add(lora("here"), **place)
    with pytest.raises(
        StackError, match=r"LoRA 'here': no file can hold the (region left|time from 2s), where it acts"
    ):
        merge_loras(stack, spec)


def test_tensors_that_are_left_out_are_told(spec: ModelSpec, tmp_path: Path) -> None:
    told = {
        "text_encoder.layer.0.q.lora_A.weight": torch.ones(2, 8),
        "text_encoder.layer.0.q.lora_B.weight": torch.ones(8, 2),
    }
    deltas = {f"diffusion_model.{Q}.diff": torch.ones(SHAPES[Q])}
    save_file({**told, **deltas}, tmp_path / "with_text.safetensors")
    note = "note: with_text: 2 of its 3 tensors are left out, the first being text_encoder.layer.0.q.lora_A.weight"
    assert merge_loras(LoraStack().add(tmp_path / "with_text.safetensors"), spec).notes[0].startswith(note)
    assert resize_lora(tmp_path / "with_text.safetensors", MergeRecipe(rank=1)).made.notes[0].startswith(note)


def test_what_adds_up_to_nothing_is_refused(spec: ModelSpec) -> None:
    weights = lora("one")
    opposed = LoraStack().add(weights, 1.0).add(weights, -1.0, name="minus")
    with pytest.raises(StackError, match="the changes add up to nothing"):
        merge_loras(LoraStack().add(lora("zero", lambda shape: Full(torch.zeros(shape)))), spec)
    with pytest.raises(StackError, match="no LoRA of it acts on the model"):
        merge_loras(LoraStack().add(weights, 0.0), spec)
    with pytest.raises(StackError, match="merge_loras: a stack without a model"):
        merge_loras(opposed)
    assert merge_loras(opposed, spec, MergeRecipe(rank=2)).text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank: 0 is out of range"),
        ({"rank": 4, "energy": 0.5}, "merge: rank and energy are both given"),
        ({"energy": 1.5}, "energy: 1.5 is no share"),
        ({"method": "ties", "density": 0.0}, "density: 0 is no share"),
        ({"method": "tie"}, "method: unknown value 'tie' .nearest: 'ties'"),
        ({"method": "concat", "rank": 4}, "rank would do nothing with concat"),
        ({"num_bytes": 0}, "size: 0 is out of range"),
        ({"rank": 4, "density": 0.3}, "merge: density would do nothing with svd .ties, dare, knots, which read it"),
        ({"method": "ties", "seed": 3}, "merge: seed would do nothing with ties .dare, which read it"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StackError, match=message):
        MergeRecipe(**settings)  # type: ignore[arg-type]
