"""The commands `merge` and `resize`: files and reports come out, and what makes no sense is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_core import LoraStack, read_lora
from lora_core.cli.merge_options import parse_bytes
from lora_core.errors import StackError
from lora_core.experts.twins import find_twin
from lora_core.families.wan.pocket import pocket_lora

Run = Callable[..., tuple[int, str, str]]


def test_a_stack_file_and_single_loras_become_a_pair_with_a_report(run: Run, tmp_path: Path) -> None:
    preset = LoraStack().add("neon_style", 0.8).resolved(()).write_preset(tmp_path / "neon.json")
    out, report = tmp_path / "fast.safetensors", tmp_path / "report.json"
    arguments = (preset, "speed_6steps:0.9", "--model", "pocket", "-o", out, "--rank", 8, "--report", report)
    code, printed, _ = run("merge", *arguments)
    high, low = (tmp_path / f"fast_{expert}.safetensors" for expert in ("high_noise", "low_noise"))
    assert code == 0
    assert printed.splitlines()[:2] == [str(high), str(low)]
    assert "speed_6steps at 0.9" in printed
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["recipe"] == {"method": "svd", "rank": 8}
    assert [file["expert"] for file in told["files"]] == ["high_noise", "low_noise"]
    assert read_lora(high).ranks == (8,)
    assert read_lora(high).purpose == "speed"
    assert run("merge", *arguments)[0] == 1
    assert run("merge", *arguments, "--force")[0] == 0


def test_every_layer_is_printed_where_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    code, printed, _ = run("resize", "neon_style", "-o", tmp_path / "small.safetensors", "--rank", 2, "--layers")
    assert code == 0
    assert printed.count(": rank 2, error ") == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("merge", "neon_style", "--size", "lots"), "--size: 'lots' is no size (such as 200MB or 1.5GiB). Correct it."),
        (("merge", "neon_style", "--rank", "4", "--energy", "0.5"), "rank and energy are both given"),
        (("merge", "neon_styl"), "nearest: 'neon_style'"),
        (("merge", "neon_style", "--density", "0.3"), "density would do nothing with concat"),
        (("resize", "neon_style"), "resize: nothing says how small"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    model = ("--model", "pocket") if arguments[0] == "merge" else ()
    code, _, told = run(*arguments, *model, "-o", tmp_path / "out.safetensors")
    assert code == 1
    assert message in told.replace("\n", " ")


@pytest.mark.parametrize(
    "command", [("merge", "neon_style", "--model", "pocket"), ("resize", "neon_style", "--rank", "2")]
)
def test_a_name_that_is_none_for_a_lora_is_refused_before_the_work(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, _, told = run(*command, "-o", tmp_path / "out.txt")
    assert code == 1
    assert "LoRA files are not written as '.txt'" in told
    assert "layers" not in told


def test_a_file_that_fits_in_part_is_taken_where_that_is_allowed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "more.safetensors"
    tensors = load_file(pocket_lora("neon_style"))
    save_file({**tensors, "diffusion_model.blocks.0.strange": torch.ones(2)}, file)
    for command in (("merge", file, "--model", "pocket"), ("resize", file, "--rank", "2")):
        out = tmp_path / f"{command[0]}.safetensors"
        assert run(*command, "-o", out)[0] == 1
        code, told, _ = run(*command, "-o", out, "--allow-partial")
        assert code == 0
        assert "1 of its 181 tensors are left out, the first being diffusion_model.blocks.0.strange" in told


def test_a_pair_for_peft_lies_in_two_folders_and_finds_each_other(run: Run, tmp_path: Path) -> None:
    command = ("merge", "neon_style:0.8", "--model", "pocket", "-o", tmp_path / "neon.safetensors", "--to", "peft")
    assert run(*command)[0] == 0
    high, low = (tmp_path / f"neon_{expert}" / f"neon_{expert}.safetensors" for expert in ("high_noise", "low_noise"))
    assert find_twin(high) == low
    assert all((file.parent / "adapter_config.json").is_file() for file in (high, low))


def test_a_half_of_a_pair_tells_of_the_other(run: Run, tmp_path: Path) -> None:
    told = run("resize", "neon_style", "-o", tmp_path / "small.safetensors", "--rank", "2")[1]
    assert "note: its twin neon_style_low_noise.safetensors stays as it is. Resize it too" in told


def test_a_size_is_read_with_its_unit() -> None:
    assert [parse_bytes(text) for text in ("120000", "200MB", "1.5 GiB", "4kb")] == [
        120_000,
        200_000_000,
        3 * 2**29,
        4000,
    ]
    with pytest.raises(StackError, match="is no size"):
        parse_bytes("-4MB")
