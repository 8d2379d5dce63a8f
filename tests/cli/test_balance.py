"""The commands `balance` and `ablate`, from the shell's words to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from lora_core import LoraStack
from lora_core.cli.main import cli
from lora_core.families.wan.pocket import pocket_lora

LORAS = [f"--lora={name}" for name in ("speed_6steps", "neon_style", "zibbo_character", "orbit_motion")]


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def refused(*arguments: str) -> str:
    ended = CliRunner().invoke(cli, arguments)
    assert ended.exit_code != 0
    return str(ended.exception)


def test_files_alone_are_held_against_each_other_and_the_proposal_is_written(tmp_path: Path) -> None:
    out = run("balance", *LORAS, f"--apply={tmp_path / 'out.json'}", f"--map={tmp_path / 'map.svg'}")
    assert "no base model was given" in out
    assert "speed_6steps: high_noise stays at 1 (speed), low_noise stays at 1 (speed)" in out
    written = LoraStack.read_preset(tmp_path / "out.json")
    assert written["speed_6steps"].strength == 1
    assert 0.5 < written["neon_style"].strength < 0.8
    assert (tmp_path / "map.svg").stat().st_size > 10_000
    assert "exists already" in refused("balance", *LORAS, f"--apply={tmp_path / 'out.json'}")
    again = run("balance", f"--stack={tmp_path / 'out.json'}")
    assert "proposed strengths: those there are" in again


def test_a_file_whose_alpha_was_traded_for_its_weights_gets_the_same_advice(tmp_path: Path) -> None:
    for expert in ("high_noise", "low_noise"):
        tensors = load_file(pocket_lora("neon_style", expert))
        for name in tensors:
            if "lora_B" in name or "lora_up" in name:
                tensors[name] = tensors[name] * 8
            if name.endswith(".alpha"):
                tensors[name] = tensors[name] / 8
        assert any(name.endswith(".alpha") for name in tensors)
        save_file(tensors, tmp_path / f"neon_style_{expert}.safetensors")
    given = [json.loads(run("-q", "balance", "--json", *LORAS))]
    others = [lora for lora in LORAS if "neon" not in lora]
    scaled = str(tmp_path / "neon_style_high_noise.safetensors")
    given.append(json.loads(run("-q", "balance", "--json", f"--lora={scaled}", *others)))
    strengths = [{(r["name"], r["expert"]): r["after"] for r in g["proposal"]["strengths"]} for g in given]
    assert set(strengths[0].values()) == set(strengths[1].values())
    assert strengths[0]["neon_style", "high_noise"] == strengths[1]["neon_style_high_noise", "high_noise"] < 1


def test_a_dry_step_is_taken_where_a_prompt_is_given(tmp_path: Path) -> None:
    options = ("--model=pocket", "-p=a zibbo moves right", "--frames=5", "--sigma=0.5", "--json")
    told = json.loads(run("-q", "balance", *LORAS, *options))
    assert told["experts"]["low_noise"]["outputs"]["sigma"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sigma=0.5"], "--sigma: would do nothing without --prompt. Give a prompt, or leave it out."),
        (["-p=a zibbo"], "--prompt: a dry step runs the model, and --model none names no file"),
        (["--model=pocket", "-p=a zibbo", "--sigma=1,2,3"], "--sigma: '1,2,3' has 3 numbers"),
        (["--map=map.jpg"], "map.jpg: unknown picture format '.jpg'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(arguments: list[str], message: str) -> None:
    assert message in refused("balance", *LORAS, *arguments)


def test_no_loras_are_refused() -> None:
    assert "stack: no LoRA of it is on (one LoRA or more)" in refused("balance")
    assert "stack: no LoRA of it acts" in refused("balance", "--model=pocket")
