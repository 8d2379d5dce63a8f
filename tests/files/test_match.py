"""The match of a LoRA with a model and with what is said of it: each known failure is one error, told by its text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nvidia_files import RANK, TARGETS, base_tensors, lora_pairs, save_checkpoint, wrapped

from lora_core.errors import LoraCoreError, LoraFileError, LoraMismatchError, ModelError, StackError
from lora_core.families.cosmos.spec import cosmos_spec, infer_cosmos_spec
from lora_core.families.registry import opener, spec_named
from lora_core.files.match import Matched, match_lora
from lora_core.files.read import read_lora
from lora_core.files.stated import StatedLora, modules_in

SPEC = infer_cosmos_spec({name: tuple(tensor.shape) for name, tensor in base_tensors().items()})
SAYS = "State what it was trained with, or nothing: the file says it."


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("nvidia") / "iter_000002000.pt")


def refusal(error: type[LoraCoreError], path: Path, **wanted) -> str:
    """Return the one error of a match and of a reading, which are the same; the path left out."""
    with pytest.raises(error) as caught:
        match_lora(path, **wanted)
    with pytest.raises(error) as again:
        read_lora(path, **{"spec": SPEC, **wanted})
    assert str(again.value) == str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_what_fits_is_counted_by_module(checkpoint: Path) -> None:
    match = match_lora(checkpoint, stated=StatedLora(RANK, 16, TARGETS))
    assert (match.ranks, match.alphas, match.alpha_source) == ({RANK: 20}, {16: 20}, "stated")
    assert (match.num_layers, match.num_zero, match.num_base) == (20, 0, len(base_tensors()) + 1)
    assert match.modules["q_proj"] == Matched(4, 4, 4 * RANK * (32 + 32))
    assert match.modules["mlp.layer1"] == Matched(2, 2, 2 * RANK * (32 + 64))
    assert match.parameters.lora == sum(counts.num_parameters for counts in match.modules.values())
    lines = match.text().splitlines()
    assert lines[1:3] == ["rank           4", "alpha          16 (as stated)"]
    assert "  k_proj                         4 of 4 layers, 960 parameters" in lines
    assert lines[-1] == "note: 48 base weights lie in the file and were not read"


def test_without_a_word_of_alpha_the_rank_is_taken_and_that_is_said(checkpoint: Path) -> None:
    match = match_lora(checkpoint)
    assert (match.alphas, match.alpha_source) == ({RANK: 20}, "none")
    assert "alpha          4 (nobody says it: the rank is taken, state it if the training had another)" in match.text()
    assert match.modules["cross_attn.k_proj"] == Matched(2, 2, 2 * RANK * (32 + 24))


def test_targets_may_be_named_as_diffusers_does(checkpoint: Path) -> None:
    stated = StatedLora(target_modules=("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"))
    assert match_lora(checkpoint, stated=stated).modules["to_q"].num_layers == 4


def test_a_part_of_the_layers_is_counted(tmp_path: Path) -> None:
    pairs = {target: pair for target, pair in lora_pairs().items() if target.startswith("blocks.0.")}
    match = match_lora(save_checkpoint(tmp_path / "x.pt", pairs), stated=StatedLora(target_modules=TARGETS))
    assert match.modules["q_proj"][:2] == (2, 4)
    assert "  q_proj                         2 of 4 layers, 512 parameters" in match.text()


def test_untrained_layers_are_named(tmp_path: Path) -> None:
    pairs = lora_pairs()
    for target in list(pairs)[:3]:
        pairs[target] = (pairs[target][0], torch.zeros_like(pairs[target][1]))
    match = match_lora(save_checkpoint(tmp_path / "x.pt", pairs))
    assert match.num_zero == 3
    assert "warning: 3 of 20 layers are untrained: their lora_B is zero" in match.text()


# ---- the failures people meet


def test_a_base_checkpoint_given_as_a_lora(tmp_path: Path) -> None:
    path = tmp_path / "model-720p-16fps.pt"
    torch.save({f"net.{name}": tensor for name, tensor in base_tensors().items()}, path)
    text = refusal(LoraMismatchError, path, spec=SPEC)
    assert text == (
        "it holds no LoRA parameters: its 47 tensors are those of a base checkpoint. "
        "Give this file as the model, and a LoRA in its place."
    )


def test_a_lora_checkpoint_given_as_the_base(checkpoint: Path) -> None:
    for opened in (spec_named, opener(checkpoint.parent)):
        with pytest.raises(ModelError) as caught:
            opened(str(checkpoint))
        assert str(caught.value) == (
            f"{checkpoint}: it is a checkpoint with a LoRA inside, not a base: 20 of its weights are named .base_layer "
            "(a base checkpoint). Give the base it was trained from as the model, and this file as a LoRA, or what "
            "`lora-core extract-cosmos` takes out of it."
        )


def test_another_rank_or_alpha_than_was_stated(checkpoint: Path, tmp_path: Path) -> None:
    text = refusal(LoraMismatchError, checkpoint, stated=StatedLora(rank=16))
    assert text == f"its rank is 4, and rank 16 was stated. {SAYS}"
    state = wrapped(base_tensors(), lora_pairs())
    alphas = {f"net.{target}.alpha": torch.tensor(2.0) for target in lora_pairs()}
    torch.save(state | alphas, tmp_path / "x.pt")
    text = refusal(LoraMismatchError, tmp_path / "x.pt", stated=StatedLora(alpha=16))
    assert text == f"its alpha is 2, and alpha 16 was stated. {SAYS}"


def test_a_lora_of_another_size_than_the_model(checkpoint: Path) -> None:
    fourteen = cosmos_spec("cosmos-predict2-14b-video2world")
    text = refusal(LoraMismatchError, checkpoint, spec=fourteen)
    assert text.startswith(
        "this is a LoRA for a transformer of width 32 and the model is Cosmos Predict2 14B Video2World (width 5120)"
    )


def test_a_target_that_is_not_in_the_model(checkpoint: Path) -> None:
    text = refusal(LoraMismatchError, checkpoint, spec=SPEC, stated=StatedLora(target_modules=(*TARGETS, "out_proj")))
    assert text == (
        "target modules that Cosmos (width 32, 2 blocks) does not have: out_proj (nearest: 'output_proj'). "
        "Correct the names, or state none: the file says which layers it changes."
    )


def test_a_target_that_is_not_in_the_file_or_was_not_stated(checkpoint: Path) -> None:
    more = StatedLora(target_modules=(*TARGETS, "adaln_modulation_mlp.1"))
    text = refusal(LoraMismatchError, checkpoint, spec=SPEC, stated=more)
    assert text == (
        "it has no LoRA on these target modules: adaln_modulation_mlp.1 (one on self_attn.q_proj, self_attn.k_proj, "
        "self_attn.v_proj, self_attn.output_proj, cross_attn.q_proj, cross_attn.k_proj, cross_attn.v_proj, "
        f"cross_attn.output_proj and 2 more). {SAYS}"
    )
    fewer = StatedLora(target_modules=("q_proj", "k_proj", "v_proj", "output_proj"))
    text = refusal(LoraMismatchError, checkpoint, spec=SPEC, stated=fewer)
    assert text == f"4 of its 20 layers are of modules that were not stated: mlp.layer1, mlp.layer2. {SAYS}"


def test_half_a_lora_is_no_lora(tmp_path: Path) -> None:
    state = wrapped(base_tensors(), lora_pairs())
    del state["net.blocks.1.mlp.layer1.lora_B.default.weight"]
    torch.save(state, tmp_path / "x.pt")
    text = refusal(LoraFileError, tmp_path / "x.pt", spec=SPEC)
    assert text.startswith("1 target has only some of the tensors that make a delta: blocks.1.mlp.layer1 lacks up")


def test_what_is_stated_is_checked_before_any_file() -> None:
    for stated, text in (
        ({"rank": 0}, "LoRA rank: 0 is out of range (at least 1). Choose a number in that range."),
        ({"alpha": 0}, "LoRA alpha: 0 is out of range (a number above 0). State the alpha of the training."),
        ({"alpha": float("nan")}, "LoRA alpha: nan is not finite (a finite real number). Give a finite number."),
    ):
        with pytest.raises(StackError) as caught:
            StatedLora(**stated)
        assert str(caught.value) == text
    assert modules_in(" q_proj, mlp.layer1,,q_proj ") == ("q_proj", "mlp.layer1")
    with pytest.raises(StackError, match=r"target modules: there is none \(a list such as q_proj,mlp\.layer1\)"):
        modules_in(" , ")
