"""LoRA files are read once for as long as somebody holds what was read, and anew when they have changed."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import comfy.model_management
import folder_paths
import lora_kinds
import native
import pytest
from native import predict
from wanloom import lora_core
from wanloom.lora_core import LoraFileError, LoraWeights, ModelSpec
from wanloom.nodes import bridge, kept_loras
from wanloom.nodes.load import PairWanModels, SplitWanModel
from wanloom.nodes.stack import ApplyLoraStack

as_in_a_node = native.as_in_a_node
host = native.host


@pytest.fixture
def spec(host: native.Host) -> ModelSpec:
    return bridge.spec_of(host.model(), num_experts=1, where="test")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "style.safetensors", seed=0)


@pytest.fixture
def num_read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    read, seen = lora_core.read_lora, []

    def watched(path: Path, **options: object) -> LoraWeights:
        seen.append(path)
        return read(path, **options)

    monkeypatch.setattr(lora_core, "read_lora", watched)
    return seen


def write(path: Path, seed: int) -> Path:
    return lora_kinds.save(path, lora_kinds.layer_tensors(lora_kinds.lora, seed=seed))


def test_a_file_is_read_once_while_its_weights_are_held(file: Path, spec: ModelSpec, num_read: list[Path]) -> None:
    weights = kept_loras.kept_reader(spec)(file)
    assert kept_loras.kept_reader(spec)(file) is weights
    assert num_read == [file]


def test_a_file_whose_weights_nobody_holds_is_let_go(file: Path, spec: ModelSpec, num_read: list[Path]) -> None:
    kept_loras.kept_reader(spec)(file)
    gc.collect()
    kept_loras.kept_reader(spec)(file)
    assert num_read == [file, file]


def test_a_file_that_was_replaced_is_read_anew(file: Path, spec: ModelSpec) -> None:
    before = kept_loras.kept_reader(spec)(file)
    file.unlink()
    assert kept_loras.kept_reader(spec)(write(file, seed=1)) is not before


def test_another_model_and_another_tolerance_read_for_themselves(
    file: Path, host: native.Host, spec: ModelSpec
) -> None:
    weights = kept_loras.kept_reader(spec)(file)
    assert kept_loras.kept_reader(spec, allow_partial=True)(file) is not weights
    other = bridge.spec_of(host.model(seed=1), num_experts=1, where="test")
    assert kept_loras.kept_reader(other)(file) is not weights


def test_a_missing_file_is_named(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(LoraFileError, match=r"gone\.safetensors"):
        kept_loras.kept_reader(spec)(tmp_path / "gone.safetensors")


def test_a_changed_strength_reads_no_file_of_a_loaded_model(host: native.Host, num_read: list[Path]) -> None:
    file = write(Path(folder_paths.get_folder_paths("loras")[0]) / "kept_style.safetensors", seed=0)
    (wan,) = PairWanModels.execute(host.model()).result

    def at(strength: float) -> object:
        model = ApplyLoraStack.execute(wan, json.dumps([{"path": file.name, "weight": strength}])).result[0]
        return predict(SplitWanModel.execute(model).result[1])

    at(0.5)
    gc.collect()  # what the executor keeps of the last run is gone; the loaded model is not
    at(0.75)
    assert num_read == [file]
    comfy.model_management.unload_all_models()
    file.unlink()
