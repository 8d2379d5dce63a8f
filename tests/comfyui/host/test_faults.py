"""What main failures tell a page: nothing of where the server keeps its folders, and still which file it is."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import folder_paths
import pytest
from wanloom.lora_core import LoraCoreError
from wanloom.nodes.check_clips import CheckClips
from wanloom.nodes.faults import without_paths
from wanloom.nodes.inspect import InspectLora
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.presets import LoadLoraStack
from wanloom.nodes.stack import ApplyLoraStack

DAMAGED = b"\xff" * 64


@pytest.fixture
def base() -> Path:
    return Path(folder_paths.base_path)


@pytest.fixture
def damaged() -> Iterator[dict[str, Path]]:
    """Damaged files in the host's own folders: kind -> path."""
    files = {
        "lora": Path(folder_paths.get_folder_paths("loras")[0]) / "people" / "broken.safetensors",
        "model": Path(folder_paths.get_folder_paths("diffusion_models")[0]) / "broken.safetensors",
        "clip": Path(folder_paths.get_input_directory()) / "clips" / "broken.mp4",
    }
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(DAMAGED)
    yield files
    for file in files.values():
        file.unlink()


def pocket() -> object:
    return LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[0]


FAILURES: dict[str, tuple[Callable[[dict[str, Path]], object], str]] = {
    "a damaged LoRA": (
        lambda files: ApplyLoraStack.execute(pocket(), json.dumps([{"path": "people/broken.safetensors"}])),
        "broken.safetensors",
    ),
    "a LoRA that is gone": (
        lambda files: ApplyLoraStack.execute(pocket(), json.dumps([{"path": "people/gone.safetensors"}])),
        "gone.safetensors",
    ),
    "a damaged model": (
        lambda files: LoadWanModel.execute("broken.safetensors", AUTO, NONE, NONE, "default"),
        "broken.safetensors",
    ),
    "a model that is gone": (
        lambda files: LoadWanModel.execute("gone.safetensors", AUTO, NONE, NONE, "default"),
        "gone.safetensors",
    ),
    "a stack that is gone": (lambda files: LoadLoraStack.execute("trips/gone", True), "gone"),
    "a folder without clips": (
        lambda files: CheckClips.execute(pocket(), "", str(files["clip"].parents[1] / "nothing here"), 17, 0, ""),
        "nothing here",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_names_the_file_and_no_folder_of_the_server(name: str, base: Path, damaged: dict[str, Path]) -> None:
    fails, file = FAILURES[name]
    with pytest.raises(LoraCoreError) as caught:
        fails(damaged)
    text = str(caught.value)
    assert file in text
    assert str(base) not in text
    assert text.endswith(".")


def test_reports_on_damaged_files_are_without_them_too(base: Path, damaged: dict[str, Path]) -> None:
    inspected = InspectLora.execute("people/broken.safetensors")
    checked = CheckClips.execute(pocket(), "", str(damaged["clip"].parent), 17, 0, "")
    for output, file in ((inspected, "broken.safetensors"), (checked, "broken.mp4")):
        (text,) = output.ui["text"]
        assert file in text
        assert str(base) not in text


def test_a_folder_of_the_hosts_is_called_by_its_name_and_no_other_is_touched(base: Path) -> None:
    loras = Path(folder_paths.get_folder_paths("loras")[0])
    assert without_paths(f"{loras}/a.safetensors: no such file") == "loras/a.safetensors: no such file"
    assert without_paths(f"{loras}-old/a.safetensors") == "models/loras-old/a.safetensors"
    assert without_paths("/somewhere/else/a.safetensors") == "/somewhere/else/a.safetensors"
