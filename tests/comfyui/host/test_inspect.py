"""InspectLora: a report on every file, also on those that could not be used."""

import json
from dataclasses import replace
from pathlib import Path

import folder_paths
import pytest
import torch
from safetensors.torch import load_file, save_file
from wanloom.lora_core import StackError, wan_spec
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes.inspect import InspectLora
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.sockets import WanModelHandle

ZIBBO = "zibbo_character_high_noise.safetensors"


@pytest.fixture(scope="module")
def pocket() -> WanModelHandle:
    return LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[0]


@pytest.fixture
def lora_folder() -> Path:
    folder = Path(folder_paths.get_folder_paths("loras")[0])
    before = set(folder.iterdir())
    yield folder
    for file in set(folder.iterdir()) - before:
        file.unlink()


def inspect(name: str, model: WanModelHandle | None = None) -> tuple[str, dict[str, str], torch.Tensor]:
    report, metadata, heat_map = InspectLora.execute(name, model).args
    assert heat_map.dtype == torch.float32
    assert heat_map.shape[0] == 1
    assert heat_map.shape[3] == 3
    assert 0 <= heat_map.min() < 0.5 < heat_map.max() <= 1
    return report, json.loads(metadata), heat_map


def test_a_file_is_reported_with_its_metadata_and_its_heat_map(pocket: WanModelHandle) -> None:
    report, metadata, heat_map = inspect(ZIBBO, pocket)
    assert "180 tensors: 180 applied" in report
    assert metadata["trigger_words"] == "zibbo"
    assert (heat_map[0].amax(dim=-1) < 0.2).float().mean() > 0.02  # the dark cells of the greatest changes


def test_without_a_model_it_is_held_against_the_whole_family() -> None:
    report, _, _ = inspect(ZIBBO)
    assert "180 tensors: 180 applied" in report


def test_a_file_for_another_model_is_refused_in_the_report_and_drawn_all_the_same(pocket: WanModelHandle) -> None:
    other = replace(pocket, spec=wan_spec("wan2.2-t2v-a14b"))
    report, metadata, heat_map = inspect(ZIBBO, other)
    assert "refused" in report
    assert metadata["name"] == "zibbo_character"
    assert torch.equal(heat_map, inspect(ZIBBO)[2])


def test_a_damaged_file_is_reported_with_the_reason(lora_folder: Path, pocket: WanModelHandle) -> None:
    whole = pocket_lora("neon_style", "high_noise").read_bytes()
    (lora_folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    report, metadata, _ = inspect("cut.safetensors", pocket)
    assert report.startswith("refused: ")
    assert "it is cut off" in report
    assert metadata == {}


def test_values_that_are_not_finite_are_reported(lora_folder: Path) -> None:
    tensors = load_file(pocket_lora("neon_style", "high_noise"))
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    tensors[name][0, 0] = float("nan")
    save_file(tensors, lora_folder / "nan.safetensors", {"kind": "style"})
    report, metadata, _ = inspect("nan.safetensors")
    assert "refused" in report
    assert metadata == {"kind": "style"}


def test_a_file_of_something_else_is_reported(lora_folder: Path) -> None:
    save_file({"some.tensor": torch.zeros(3)}, lora_folder / "odd.safetensors")
    report, _, _ = inspect("odd.safetensors")
    assert "refused" in report
    assert "unmatched" in report


@pytest.mark.parametrize("name", ["gone.safetensors", "../../main.py"])
def test_a_file_that_is_not_there_is_told_at_the_node(name: str) -> None:
    assert str(InspectLora.validate_inputs(name)).startswith(f"{name}: ")
    with pytest.raises(StackError):
        InspectLora.execute(name)


def test_every_file_of_the_list_can_be_chosen() -> None:
    files = InspectLora.define_schema().inputs[0].options
    assert ZIBBO in files
    assert all(InspectLora.validate_inputs(name) is True for name in files)


def test_the_fingerprint_follows_the_file(lora_folder: Path) -> None:
    file = lora_folder / "mine.safetensors"
    file.write_bytes(b"a")
    before = InspectLora.fingerprint_inputs("mine.safetensors")
    file.write_bytes(b"ab")
    assert InspectLora.fingerprint_inputs("mine.safetensors") != before
