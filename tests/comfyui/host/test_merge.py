"""MergeLoras: a file among the host's LoRAs that acts as the stack does, and never in the place of another's file."""

from __future__ import annotations

import json
from pathlib import Path

import folder_paths
import pytest
from wanloom.lora_core import LoraStack, OutputError, StackError, read_lora
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes.load import LoadWanModel
from wanloom.nodes.merge import MergeLoras
from wanloom.nodes.sockets import WanModelHandle
from wanloom.nodes.stack import ApplyLoraStack


@pytest.fixture(autouse=True)
def loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the LoRA folder be the test's own."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    return tmp_path


@pytest.fixture(scope="module")
def model() -> WanModelHandle:
    return LoadWanModel.execute("pocket (built in)", "auto: find the twin", "none", "none", "default").args[0]


def stack() -> LoraStack:
    names = ("neon_style", "zibbo_character")
    return LoraStack().add(pocket_lora(names[0], "high_noise").name, 0.8).add(pocket_lora(names[1], "high_noise").name)


def merged(model: WanModelHandle, **settings: object) -> tuple[LoraStack, str]:
    widgets = {"name": "two", "rank": 0, "energy": 0.0, "megabytes": 0.0, "method": "auto", "stack": stack()}
    return MergeLoras.execute(model, **{**widgets, **settings}).args


def test_a_merge_is_a_pair_among_the_hosts_loras_and_goes_on_as_a_stack(model: WanModelHandle, loras: Path) -> None:
    found, report = merged(model)
    files = [loras / "merged" / f"two_{expert}.safetensors" for expert in ("high_noise", "low_noise")]
    assert all(file.is_file() for file in files)
    assert [row["strength"] for row in json.loads(read_lora(files[0]).metadata["merged_from"])] == [0.8, 1.0]
    assert "high_noise: relative error 0.00e+00 over 60 layers" in report
    on_model = ApplyLoraStack.execute(model, json.dumps([json.loads(found.to_json())[0]]), False).args[0]
    assert {lora.made_for for lora in on_model.route().all} == {"high_noise", "low_noise"}


def test_a_smaller_merge_says_what_it_loses_and_replaces_only_a_merge(model: WanModelHandle, loras: Path) -> None:
    merged(model)
    _, report = merged(model, rank=4)
    assert "rank 4" in report
    assert read_lora(loras / "merged" / "two_high_noise.safetensors").ranks == (4,)
    foreign = loras / "merged" / "mine_low_noise.safetensors"
    foreign.write_bytes(pocket_lora("neon_style", "low_noise").read_bytes())
    with pytest.raises(OutputError, match="is there already, and is no merge"):
        merged(model, name="mine")


def test_what_the_widgets_cannot_mean_is_said_before_a_run(model: WanModelHandle) -> None:
    assert MergeLoras.validate_inputs(name="two", rank=4) is True
    assert "rank and energy are both given" in MergeLoras.validate_inputs(rank=4, energy=0.5)
    assert "names no file" in MergeLoras.validate_inputs(name="../two")
    assert "rank would do nothing with concat" in MergeLoras.validate_inputs(rank=4, method="concat")
    with pytest.raises(StackError, match="no LoRA of it acts on the model"):
        merged(model, stack=None)
