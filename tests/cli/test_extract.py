"""The command `extract`: the LoRA between two checkpoints, and what of their difference it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from lora_core.cli.main import cli
from lora_core.errors import ModelError, OutputError
from lora_core.families.registry import checkpoint_named
from lora_core.families.wan.pocket import pocket_paths
from lora_core.files.read import read_lora

HIGH = pocket_paths().high_noise


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["extract", *map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """The pocket's high-noise expert with a change of rank 2 in two layers."""
    state = load_file(HIGH)
    torch.manual_seed(0)
    for name in ("blocks.0.self_attn.q.weight", "blocks.5.ffn.2.weight"):
        rows, columns = state[name].shape
        state[name] = state[name].float() + torch.randn(rows, 2) @ torch.randn(2, columns)
    save_file(state, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_a_lora_is_written_and_its_error_told(tuned: Path, tmp_path: Path) -> None:
    output = tmp_path / "lora.safetensors"
    done = run("pocket:high_noise", tuned, "-o", output, "--rank", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"{output}: 2 targets, rank 2"
    assert lines[1].startswith("relative error 0.000")
    assert lines[2].startswith("worst: blocks.")
    weights = read_lora(output, spec=checkpoint_spec())
    assert set(weights.deltas) == {"blocks.0.self_attn.q", "blocks.5.ffn.2"}
    assert weights.expert == "high_noise"
    assert {t.dtype for delta in weights.deltas.values() for t in delta.tensors()} == {torch.float16}
    assert "parameters" in done.stderr


def checkpoint_spec():
    from lora_core.families.registry import spec_named

    return spec_named("pocket")


def test_a_smaller_rank_loses_more_and_a_file_is_not_replaced_unasked(tuned: Path, tmp_path: Path) -> None:
    output = tmp_path / "lora.safetensors"
    assert run("pocket:high_noise", tuned, "-o", output, "--rank", 1).exit_code == 0
    assert float(read_lora(output).metadata["relative_error"]) > 0.1
    again = run("pocket:high_noise", tuned, "-o", output)
    assert isinstance(again.exception, OutputError)
    assert str(again.exception) == f"{output}: exists already. Choose another name, or pass --force."
    assert run("pocket:high_noise", tuned, "-o", output, "--rank", 2, "--force").exit_code == 0
    assert float(read_lora(output).metadata["relative_error"]) < 1e-3


def test_nothing_is_written_where_there_is_nothing_to_extract(tmp_path: Path) -> None:
    output = tmp_path / "lora.safetensors"
    done = run("pocket:high_noise", HIGH, "-o", output)
    assert isinstance(done.exception, ModelError)
    assert f"{HIGH}: all 177 parameters are the same in both" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_experts_of_models_are_named_by_the_model() -> None:
    assert checkpoint_named("pocket:high_noise") == HIGH
    assert checkpoint_named("pocket:low_noise") == pocket_paths().low_noise
    assert checkpoint_named("folder/file.safetensors") == Path("folder/file.safetensors")
    with pytest.raises(ModelError, match="nowhere: no such file or folder"):
        checkpoint_named("nowhere:low_noise")
