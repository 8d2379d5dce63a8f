"""The command `extract-cosmos`: the LoRA in a checkpoint of NVIDIA's post-training, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from full_disk import files_of_at_most
from nvidia_files import RANK, lora_pairs, save_checkpoint
from safetensors.torch import load_file

from lora_core.files.read import read_lora

TARGETS = "q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "iter_000002000.pt", average=lora_pairs(seed=2))


def test_the_lora_is_written_with_what_is_known_of_it(checkpoint: Path, tmp_path: Path, run) -> None:
    output = tmp_path / "lora.safetensors"
    code, out, err = run("extract-cosmos", checkpoint, "-o", output, "--alpha", "16", "--lora-target-modules", TARGETS)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:5] == [
        f"{output}: 20 layers",
        "model          Cosmos (width 32, 2 blocks)",
        "rank           4",
        "alpha          16 (as stated)",
        "parameters     5,504 in the LoRA, 12.3 % of 44,576 with the model's own",
    ]
    assert "  mlp.layer2                     2 of 2 layers, 768 parameters" in lines
    assert lines[-1] == "note: 96 base weights lie in the file and were not read"
    weights = read_lora(output)
    for target, (down, up) in lora_pairs().items():
        torch.testing.assert_close(weights.deltas[target].dense(), 16 / RANK * up @ down)
    assert weights.metadata["target_modules"] == TARGETS
    assert {tensor.dtype for tensor in load_file(output).values()} == {torch.float32}  # as they were trained
    code, out, _ = run("inspect", output, "--model", checkpoint)
    assert code == 1


def test_the_average_is_written_where_it_is_asked_for(checkpoint: Path, tmp_path: Path, run) -> None:
    code, out, _ = run(
        "extract-cosmos", checkpoint, "-o", tmp_path / "lora.safetensors", "--ema", "--dtype", "bfloat16"
    )
    assert code == 0
    assert "note: this is the moving average (EMA) of its LoRA" in out
    weights = read_lora(tmp_path / "lora.safetensors")
    for target, (down, up) in lora_pairs(seed=2).items():
        delta = weights.deltas[target]
        assert {tensor.dtype for tensor in delta.tensors()} == {torch.bfloat16}
        torch.testing.assert_close(delta.dense(), up.bfloat16().float() @ down.bfloat16().float())


def test_nothing_is_replaced_unasked_or_left_half_written(checkpoint: Path, tmp_path: Path, run) -> None:
    output = tmp_path / "lora.safetensors"
    output.write_bytes(b"mine")
    code, _, err = run("extract-cosmos", checkpoint, "-o", output)
    assert (code, err) == (1, f"Error: {output}: exists already. Choose another name, or pass --force.\n")
    with files_of_at_most(20_000):
        code, _, err = run("extract-cosmos", checkpoint, "-o", output, "--force")
    assert code == 1
    assert err.count("\n") == 1
    assert output.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iter_000002000.pt", "lora.safetensors"]
    assert run("extract-cosmos", checkpoint, "-o", output, "--force")[0] == 0
    assert read_lora(output).ranks == (RANK,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rank", "16"), "{path}: its rank is 4, and rank 16 was stated. State what it was trained with, or "),
        (("--lora-target-modules", "q_proj,nope"), "{path}: target modules that Cosmos (width 32, 2 blocks) does not "),
        (("--lora-target-modules", ","), "target modules: there is none (a list such as q_proj,mlp.layer1). Name"),
        (("--alpha", "-1"), "LoRA alpha: -1 is out of range (a number above 0). State the alpha of the training."),
        (("--model", "wan2.1-t2v-1.3b"), "{path}: it looks like a LoRA for Cosmos; none of its "),
        (("--model", "cosmos-predict2-14b-video2world"), "{path}: this is a LoRA for a transformer of width 32 and "),
        (("--model", "nope"), "nope: "),
    ],
)
def test_what_does_not_fit_is_one_error_and_no_file(
    options: tuple[str, str], said: str, checkpoint: Path, tmp_path: Path, run
) -> None:
    code, out, err = run("extract-cosmos", checkpoint, "-o", tmp_path / "lora.safetensors", *options)
    assert (code, out) == (1, "")
    assert err.startswith("Error: " + said.format(path=checkpoint))
    assert err.count("\n") == 1
    assert not (tmp_path / "lora.safetensors").exists()
