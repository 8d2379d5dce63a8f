"""Loading, pairing and splitting: which files, what is told of them, and what is refused."""

import shutil
from pathlib import Path

import folder_paths
import pytest
from wanloom.lora_core import ModelError
from wanloom.lora_core.families.wan.pocket import pocket_paths
from wanloom.nodes.bridge import with_shift
from wanloom.nodes.core_loaders import load_clip, load_vae
from wanloom.nodes.load import AUTO, NONE, POCKET, SINGLE, LoadWanModel, PairWanModels, SplitWanModel
from wanloom.nodes.sockets import WanModelHandle


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of models: the pocket's experts as files of a user."""
    folder = tmp_path / "diffusion_models"
    folder.mkdir()
    shutil.copy(pocket_paths().high_noise, folder / "mine_high_noise.safetensors")
    shutil.copy(pocket_paths().low_noise, folder / "mine_low_noise.safetensors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(folder)], {".safetensors"}))
    return folder


def refusal(*choices: str) -> str:
    answer = LoadWanModel.validate_inputs(*choices)
    assert isinstance(answer, str)
    return answer


def load(*choices: str) -> tuple[WanModelHandle, str]:
    output = LoadWanModel.execute(*choices, NONE, NONE, "default")
    return output.args[0], output.ui["text"][0]


def test_a_twin_is_found_and_both_files_are_named(models: Path) -> None:
    model, text = load("mine_high_noise.safetensors", AUTO)
    assert model.spec.name == "wan-pocket"
    assert text.splitlines()[1:] == ["mine_high_noise.safetensors", "mine_low_noise.safetensors"]


def test_a_low_noise_file_alone_brings_its_twin_in_the_right_order(models: Path) -> None:
    _, text = load("mine_low_noise.safetensors", AUTO)
    assert text.splitlines()[1:] == ["mine_high_noise.safetensors", "mine_low_noise.safetensors"]


@pytest.mark.parametrize(
    ("choice", "spec", "told"),
    [
        (POCKET, "wan-pocket", "two experts, boundary 0.875, weights"),
        ("pocket I2V (built in)", "wan-pocket-i2v", "two experts, boundary 0.9, wants a picture, weights"),
        ("pocket small (built in)", "wan-pocket-small", "two experts, boundary 0.875, weights"),
    ],
)
def test_a_model_that_comes_along_is_known_by_its_shapes(choice: str, spec: str, told: str) -> None:
    model, text = load(choice, AUTO)
    assert model.spec.name == spec
    assert told in text


def test_one_expert_has_no_boundary(models: Path) -> None:
    model, text = load("mine_low_noise.safetensors", SINGLE)
    assert model.high_noise is None
    assert "one expert" in text


def test_experts_in_each_others_place_or_one_file_twice_are_refused(models: Path) -> None:
    high, low = "mine_high_noise.safetensors", "mine_low_noise.safetensors"
    assert "Exchange the two files" in refusal(low, high, NONE, NONE)
    assert "is given as both experts" in refusal(high, high, NONE, NONE)
    assert "no part of it" in refusal(POCKET, low, NONE, NONE)


@pytest.mark.parametrize("linked", range(4))
def test_an_input_from_another_node_is_checked_when_it_is_known(linked: int) -> None:
    choices: list[str | None] = [POCKET, AUTO, NONE, NONE]
    choices[linked] = None
    assert LoadWanModel.validate_inputs(*choices) is True
    assert LoadWanModel.fingerprint_inputs(*choices, weight_dtype="default") is None


@pytest.mark.parametrize("opened", [load_clip, load_vae])
def test_a_file_of_another_kind_is_refused_by_its_name(opened: object) -> None:
    with pytest.raises(ModelError, match=r"(?s)^wan_pocket_low_noise.safetensors: .*\. Choose another file"):
        opened(pocket_paths().low_noise)


def test_a_file_that_is_cut_off_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "cut.safetensors"
    file.write_bytes(pocket_paths().vae.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"^cut.safetensors: ComfyUI cannot open it"):
        load_vae(file)


def test_a_shift_patched_into_a_model_is_told_not_to_count() -> None:
    pocket, _ = load(POCKET, AUTO)
    high, low = pocket.high_noise, pocket.low_noise
    assert "note" not in PairWanModels.execute(high, low).ui["text"][0]
    text = PairWanModels.execute(with_shift(high, 12.0), low).ui["text"][0]
    assert "the high_noise MODEL brings a model sampling of its own (shift 12)" in text


def test_a_split_says_what_it_assumes_unless_it_was_routed() -> None:
    pocket, _ = load(POCKET, AUTO)
    assert "six steps at shift 5 are assumed" in SplitWanModel.execute(pocket).ui["text"][0]
