"""The node that trains, in ComfyUI's Python: what it leaves, when it goes on or returns at once, what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import pytest
from wanloom.lora_core import LoraCoreError, LoraStack
from wanloom.nodes.check_clips import CheckClips
from wanloom.nodes.clip_folders import EXAMPLES, clips_folder
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.stack import ApplyLoraStack
from wanloom.nodes.train import TrainLoraFromClips
from wanloom.nodes.widgets import lora_files

#: As little as can be trained.
SMALL = "blocks=0\ntargets=self_attn\nswitch_every=1\nvalidate_every=0"
PREVIEWED = f"{SMALL}\npreview_prompts=a blorp\npreview_steps=1"
DEFAULTS: dict[str, Any] = {
    **{"clips": "blorps", "name": "tiny", "trigger": "", "preset": "none", "method": "lora", "experts": "both"},
    **{"rank": 2, "steps": 2, "previews": 0, "clips_path": "", "lr": 0.0, "batch_size": 0, "num_frames": 0},
    **{"resolution": 0, "settings": SMALL},
}


@pytest.fixture(scope="module")
def model() -> Any:
    return LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[0]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the host folders of their own, with three clips below its input."""
    for kind in ("input", "output", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    (tmp_path / "loras").mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path / "loras")], {".safetensors"}))
    clips = tmp_path / "input" / "blorps"
    clips.mkdir()
    for file in sorted(clips_folder(EXAMPLES).glob("blorp-plain-*")):
        shutil.copy(file, clips)
    yield tmp_path
    folder_paths.filename_list_cache.clear()


def trained(model: Any, **changed: Any) -> Any:
    return TrainLoraFromClips.execute(model, **DEFAULTS | changed)


def refused(model: Any, **changed: Any) -> str:
    with pytest.raises(LoraCoreError) as caught:
        trained(model, **changed)
    return str(caught.value)


def test_a_training_leaves_a_pair_in_the_list_and_a_stack_that_applies(model: Any, folders: Path) -> None:
    output = trained(model, previews=1, settings=PREVIEWED)
    high, low, loss, previews, report, stack = output.args
    assert (high, low) == ("trained/tiny_high_noise.safetensors", "trained/tiny_low_noise.safetensors")
    assert {high, low} <= set(lora_files())
    assert loss.shape[-1] == previews.shape[-1] == 3
    assert loss.shape[1] > 300
    assert "tiny: 2 steps (high-noise 1, low-noise 1)" in report
    assert isinstance(stack, LoraStack)
    applied = ApplyLoraStack.execute(model, "[]", stack).args[0]
    acting = applied.route()
    assert [len(acting.for_expert(expert)) for expert in ("high_noise", "low_noise")] == [1, 1]
    (state,) = output.ui["training"]
    assert state["step"] == state["steps"] == 2
    assert state["sheet"]["subfolder"] == "wanloom/training/tiny/previews"


def test_the_same_again_returns_at_once_and_the_name_with_other_settings_is_refused(model: Any, folders: Path) -> None:
    trained(model)
    again = trained(model)
    assert "it was over already" in again.args[4]
    text = refused(model, rank=4)
    assert text.startswith("name: the name 'tiny' is taken: the training here has other settings: rank 2 there, 4 here")
    assert text.endswith("Choose another name, or the same settings to go on with it.")


def test_clips_are_checked_without_training(model: Any, folders: Path) -> None:
    (folders / "input" / "blorps" / "blorp-plain-up.txt").unlink()
    table, sheet = CheckClips.execute(model, "blorps", "", 0, 0, "held_out=0.3").args
    assert "3 of 4 files are used" in table
    assert "blorp-plain-up.mp4" in table
    assert "bucket 64x64, 17 frames: 3 clips" in table
    assert sheet.shape[1] > 3 * 128
    assert not (folders / "output" / "wanloom").exists()
