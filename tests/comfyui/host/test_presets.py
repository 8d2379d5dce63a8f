"""SaveLoraStack and LoadLoraStack: a stack comes back as it went, from the user's folder and nowhere else."""

import json
from pathlib import Path

import folder_paths
import pytest
from wanloom.lora_core import LoraStack, StackError
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes.folders import preset_folder
from wanloom.nodes.presets import LoadLoraStack, SaveLoraStack
from wanloom.nodes.stack_files import parse_stack

ROWS = [
    {"path": "speed_6steps_high_noise.safetensors"},
    {"path": "neon_style_high_noise.safetensors", "name": "neon", "weight": 0.7, "schedule": "fade_out"},
]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of presets, in a user directory of the test's own."""
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    return preset_folder()


@pytest.fixture
def stack() -> LoraStack:
    return parse_stack(json.dumps(ROWS), "test")


@pytest.fixture
def own_lora() -> Path:
    """A LoRA in the host's own folder."""
    file = Path(folder_paths.get_folder_paths("loras")[0]) / "mine.safetensors"
    file.write_bytes(pocket_lora("neon_style", "high_noise").read_bytes())
    yield file
    file.unlink()


def load(name: str, verify: bool = True) -> LoraStack:
    loaded, _ = LoadLoraStack.execute(name, verify).args
    return loaded


def test_a_stack_comes_back_as_it_was_saved_with_its_twins(stack: LoraStack) -> None:
    (text,) = SaveLoraStack.execute(stack, "trips/neon").args
    loaded = load("trips/neon")
    assert [entry.name for entry in loaded] == ["speed_6steps_high_noise", "neon"]
    neon = loaded["neon"]
    assert (neon.strength, str(neon.schedule)) == (0.7, "fade_out")
    files = [pocket_lora("neon_style", expert) for expert in ("high_noise", "low_noise")]
    assert [neon.path, neon.low_noise_path] == files
    assert text.startswith("preset 'trips/neon' saved: ")
    assert "neon: 0.7 on auto; neon_style_high_noise.safetensors + neon_style_low_noise.safetensors" in text


def test_a_preset_of_the_pockets_loras_holds_no_path_of_this_machine(stack: LoraStack, folder: Path) -> None:
    SaveLoraStack.execute(stack, "neon")
    rows = json.loads((folder / "neon.json").read_text())
    assert [row["path"] for row in rows] == [row["path"] for row in ROWS]
    assert all(len(row[key]) == 64 for row in rows for key in ("sha256", "low_noise_sha256"))


def test_saving_again_takes_the_place_of_the_old(stack: LoraStack) -> None:
    SaveLoraStack.execute(stack, "neon")
    (text,) = SaveLoraStack.execute(stack.without("neon"), "neon").args
    assert text.startswith("preset 'neon' written over: ")
    assert len(load("neon")) == 1


def test_an_empty_stack_is_not_saved(folder: Path) -> None:
    with pytest.raises(StackError, match="SaveLoraStack: the stack has no LoRAs"):
        SaveLoraStack.execute(LoraStack(), "nothing")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../x", "/opt/x", "C:\\x", "", ".x", "con", "a/../../x", "a|b"])
def test_a_name_that_is_not_plain_is_told_at_the_node_and_refused_in_the_run(
    name: str, stack: LoraStack, tmp_path: Path
) -> None:
    for check in (SaveLoraStack.validate_inputs, LoadLoraStack.validate_inputs):
        assert str(check(name)).startswith(f"preset name {name!r}: ")
    with pytest.raises(StackError, match="a plain name such as"):
        SaveLoraStack.execute(stack, name)
    with pytest.raises(StackError, match="a plain name such as"):
        load(name)
    assert list(tmp_path.iterdir()) == []


def test_the_list_shows_what_is_there_now(stack: LoraStack) -> None:
    assert LoadLoraStack.define_schema().inputs[0].options == []
    for name in ("neon", "trips/rome"):
        SaveLoraStack.execute(stack, name)
    assert LoadLoraStack.define_schema().inputs[0].options == ["neon", "trips/rome"]


def test_a_preset_that_is_gone_is_told_with_the_nearest(stack: LoraStack) -> None:
    SaveLoraStack.execute(stack, "neon")
    assert LoadLoraStack.validate_inputs("neon") is True
    assert "(nearest: 'neon')" in LoadLoraStack.validate_inputs("noen")


def test_a_link_is_not_checked_before_the_run() -> None:
    assert SaveLoraStack.validate_inputs(None) is True
    assert LoadLoraStack.validate_inputs(None) is True


def test_a_changed_lora_is_refused_unless_verify_is_off(own_lora: Path) -> None:
    SaveLoraStack.execute(parse_stack('[{"path": "mine.safetensors"}]', "test"), "mine")
    own_lora.write_bytes(pocket_lora("zibbo_character", "high_noise").read_bytes())
    assert LoadLoraStack.validate_inputs("mine") is True
    with pytest.raises(StackError, match=r"a LoRA has changed: .*mine.safetensors"):
        load("mine")
    _, text = LoadLoraStack.execute("mine", False).args
    assert "the files were not compared" in text


def test_a_lora_that_is_gone_is_told_at_the_node(own_lora: Path, stack: LoraStack) -> None:
    SaveLoraStack.execute(parse_stack('[{"path": "mine.safetensors"}]', "test"), "mine")
    own_lora.rename(own_lora.with_name("other.safetensors"))
    try:
        assert "mine.safetensors: no such file" in LoadLoraStack.validate_inputs("mine")
    finally:
        own_lora.with_name("other.safetensors").rename(own_lora)


def test_a_preset_that_is_no_json_is_told_at_the_node(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "bad.json").write_text('[{"path": ')
    assert "bad.json: not JSON" in LoadLoraStack.validate_inputs("bad")


def test_a_preset_cannot_name_a_file_outside_the_lora_folders(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "bad.json").write_text('[{"path": "../../../../secret.safetensors"}]')
    assert "leaves the LoRA folders" in LoadLoraStack.validate_inputs("bad")


def test_the_fingerprint_follows_the_preset_and_its_files(own_lora: Path, folder: Path) -> None:
    SaveLoraStack.execute(parse_stack('[{"path": "mine.safetensors"}]', "test"), "mine")
    seen = [LoadLoraStack.fingerprint_inputs("mine", verify=True)]
    assert LoadLoraStack.fingerprint_inputs("mine", verify=True) == seen[0]
    own_lora.write_bytes(b"changed")
    seen.append(LoadLoraStack.fingerprint_inputs("mine", verify=True))
    (folder / "mine.json").write_text(json.dumps([{"path": "mine.safetensors", "weight": 0.5}]))
    seen.append(LoadLoraStack.fingerprint_inputs("mine", verify=True))
    assert len(set(seen)) == 3


def test_a_preset_that_was_removed_is_saved_again(stack: LoraStack, folder: Path) -> None:
    SaveLoraStack.execute(stack, "neon")
    saved = SaveLoraStack.fingerprint_inputs("neon")
    SaveLoraStack.execute(stack, "neon")
    assert SaveLoraStack.fingerprint_inputs("neon") == saved
    (folder / "neon.json").unlink()
    assert SaveLoraStack.fingerprint_inputs("neon") != saved
