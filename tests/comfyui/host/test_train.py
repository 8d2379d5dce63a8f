"""The node that trains, in ComfyUI's Python: what it leaves, when it goes on or returns at once, what it refuses."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from wanloom.lora_core import LoraCoreError, LoraStack
from wanloom.lora_core.families.wan.pocket import pocket_paths
from wanloom.lora_core.media.video import read_video
from wanloom.nodes.base_files import base_files
from wanloom.nodes.check_clips import CheckClips
from wanloom.nodes.clip_folders import EXAMPLES, clips_folder
from wanloom.nodes.load import AUTO, NONE, POCKET, SINGLE, LoadWanModel, PairWanModels
from wanloom.nodes.stack import ApplyLoraStack
from wanloom.nodes.train import TrainLoraFromClips
from wanloom.nodes.widgets import lora_files

#: As little as can be trained.
SMALL = "blocks=0\ntargets=self_attn\nswitch_every=1\nvalidate_every=0"
ONE = SMALL.replace("switch_every=1\n", "")
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


def test_a_training_leaves_a_pair_in_the_list_a_stack_that_applies_and_its_name(model: Any, folders: Path) -> None:
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

    again = trained(model, previews=1, settings=PREVIEWED)  # returns at once
    assert again.args[:2] == output.args[:2]
    assert "it was over already; nothing was trained anew" in again.args[4]
    assert again.ui["training"][0]["status"] == "done"
    os.utime(folders / "input" / "blorps" / "blorp-plain-up.txt", (2e9, 2e9))
    assert "1 file changed since then" in trained(model).args[4]
    text = refused(model, rank=4)
    assert text.startswith("name: the name 'tiny' is taken: the training here has other settings: rank 2 there, 4 here")
    assert text.endswith("Choose another name, or the same settings to go on with it.")


def test_an_image_model_is_trained_on_the_same_clips(folders: Path) -> None:
    image_model = LoadWanModel.execute("pocket I2V (built in)", AUTO, NONE, NONE, "default").args[0]
    _, _, _, previews, report, stack = trained(image_model, previews=1, settings=PREVIEWED).args
    assert "tiny: 2 steps (high-noise 1, low-noise 1)" in report
    assert previews.shape[-1] == 3
    acting = ApplyLoraStack.execute(image_model, "[]", stack).args[0].route()
    assert [len(acting.for_expert(expert)) for expert in ("high_noise", "low_noise")] == [1, 1]


def test_clips_are_checked_without_training(model: Any, folders: Path) -> None:
    (folders / "input" / "blorps" / "blorp-plain-up.txt").unlink()
    table, sheet = CheckClips.execute(model, "blorps", "", 0, 0, "held_out=0.3").args
    assert "3 of 4 files are used" in table
    assert "blorp-plain-up.mp4" in table
    assert "bucket 64x64, 17 frames: 3 clips" in table
    assert sheet.shape[1] > 3 * 128
    assert not (folders / "output" / "wanloom").exists()


def pictures(num_frames: int = 34) -> torch.Tensor:
    """Return frames in which a square moves over colours that change."""
    frames = torch.rand(num_frames, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    for index in range(num_frames):
        frames[index, 20:40, index : index + 20] = torch.tensor([1.0, 0.0, 0.0])
    return frames


def test_images_with_captions_are_clips_kept_without_loss(model: Any, folders: Path) -> None:
    output = trained(
        model, images=pictures(), captions="a red square\n\na red square moves\n", settings=f"{SMALL}\nheld_out=0"
    )
    run = folders / "output" / "wanloom" / "training" / "tiny"
    (clips,) = run.glob("clips-*")
    assert sorted(path.suffix for path in clips.iterdir()) == [".mkv", ".mkv", ".txt", ".txt"]
    kept = np.concatenate([read_video(path)[0] for path in sorted(clips.glob("*.mkv"))])
    assert np.array_equal(kept, (pictures() * 255).round().to(torch.uint8).numpy())
    assert "2 of 2 files are used" in output.args[4]
    text = refused(model, images=pictures().flip(0), captions="one\ntwo", settings=f"{SMALL}\nheld_out=0")
    assert text.startswith("name: the name 'tiny' is taken")
    assert "clips" in text
    assert list(run.glob("clips-*")) == [clips]


def test_an_expert_alone_and_all_weights_as_a_lora(model: Any, folders: Path) -> None:
    high, low, *_, report, stack = trained(
        model, name="whole", method="full", experts="low", steps=1, settings=ONE
    ).args
    assert (high, low) == ("", "trained/whole_low_noise.safetensors")
    assert "whole: 1 step (low-noise 1)" in report
    route = ApplyLoraStack.execute(model, "[]", stack).args[0].route()
    assert [len(route.for_expert(expert)) for expert in ("high_noise", "low_noise")] == [0, 1]


# ---------------------------------------------------------------- what is refused

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a folder outside": (
        {"clips_path": "../../etc"},
        r"^\.\./\.\./etc: is outside of the folders that ComfyUI may read",
    ),
    "a path from the root": ({"clips_path": "/"}, r"^/: is outside of the folders that ComfyUI may read"),
    "a folder that is empty": ({"clips": "empty"}, r"empty: is empty \(files ending in"),
    "a folder that is gone": ({"clips": "gone"}, r"gone: there is no such folder"),
    "a preset that is none": ({"preset": "charakter"}, r"^preset: unknown value 'charakter' \(.*character"),
    "a name with a slash": ({"name": "../up"}, r"^name: '\.\./up' is no name for files"),
    "no name": ({"name": " "}, r"^name: ' ?' is no name for files"),
    "a key nobody knows": ({"settings": "rang=4"}, r"^settings: unknown key 'rang' .*rank"),
    "a line that sets nothing": ({"settings": "rank"}, r"^settings: 'rank' sets nothing"),
    "a key with a widget": ({"settings": "rank=4"}, r"^settings: 'rank' is set by a widget too"),
    "a file outside": ({"settings": "vae=/etc/passwd"}, r"^vae: no file '/etc/passwd' there"),
    "a value that is none": ({"settings": "lr_schedule=wavy"}, r"^lr_schedule: unknown value 'wavy'"),
    "captions of nothing": ({"captions": "a"}, r"^captions: there are no images that they could be of"),
    "two sources of clips": ({"images": pictures(2), "clips_path": "blorps"}, r"^clips_path: there are images"),
    "frames that do not go up": (
        {"images": pictures(5), "captions": "a\nb"},
        r"^frames: 5 frames cannot be shared out",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained_is_one_clear_error_and_leaves_nothing(model: Any, folders: Path, case: str) -> None:
    (folders / "input" / "empty").mkdir()
    changed, words = BAD[case]
    text = refused(model, **changed)
    assert re.search(words, text), text
    assert text.endswith(".")
    assert not (folders / "output" / "wanloom").exists()
    assert not list((folders / "loras").iterdir())


@pytest.mark.parametrize(
    "case", [case for case, (changed, _) in BAD.items() if set(changed) <= {"clips", "clips_path", "preset", "name"}]
)
def test_what_the_widgets_tell_is_refused_before_the_run(folders: Path, case: str) -> None:
    (folders / "input" / "empty").mkdir()
    changed, words = BAD[case]
    given = {key: DEFAULTS[key] for key in ("clips", "clips_path", "preset", "name", "settings")}
    answer = TrainLoraFromClips.validate_inputs(**given | changed)
    assert isinstance(answer, str)
    assert re.search(words, answer)


def test_a_model_whose_files_nobody_knows_is_refused_unless_they_are_named(model: Any, folders: Path) -> None:
    pair = PairWanModels.execute(model.high_noise, model.low_noise).args[0]
    text = refused(pair)
    assert text.startswith("TrainLoraFromClips: nobody knows the files that this model came from")
    assert "Use LoadWanModel" in text
    text = refused(pair, settings=f"{SMALL}\nmodel=pocket\nrank=3", rank=0, method="qlora\n")
    assert text.startswith("method: unknown value")


def test_a_model_without_text_encoder_or_vae_says_so_and_takes_them_from_wires(
    model: Any, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = folders / "diffusion_models"
    models.mkdir()
    shutil.copy(pocket_paths().high_noise, models / "mine_high_noise.safetensors")
    shutil.copy(pocket_paths().low_noise, models / "mine_low_noise.safetensors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(models)], {".safetensors"}))
    mine = LoadWanModel.execute("mine_high_noise.safetensors", AUTO, NONE, NONE, "default").args[0]
    assert refused(mine).startswith("TrainLoraFromClips: no text encoder for the training. Choose one in LoadWanModel")
    clip, vae = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[1:]
    assert refused(mine, clip=clip).startswith("TrainLoraFromClips: no VAE for the training")
    files = base_files(mine, clip, vae, {})
    assert files == {
        "model": str(models / "mine_high_noise.safetensors"),
        "low_noise": str(models / "mine_low_noise.safetensors"),
        "text_encoder": str(pocket_paths().text_encoder),
        "vae": str(pocket_paths().vae),
    }
    vae.patcher.cached_patcher_init = None
    assert refused(mine, clip=clip, vae=vae).startswith("TrainLoraFromClips: nobody knows the file that this VAE came")
    single = LoadWanModel.execute("mine_high_noise.safetensors", SINGLE, NONE, NONE, "default").args[0]
    assert refused(single).startswith(
        "mine_high_noise.safetensors: is one of a pair, and was loaded as a single expert"
    )


def test_a_file_of_another_training_is_never_replaced(model: Any, folders: Path) -> None:
    file = folders / "loras" / "trained" / "tiny_low_noise.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"somebody's own")
    assert refused(model).startswith(
        "loras/trained/tiny_low_noise.safetensors: is there already, from another training. Choose another name"
    )
    assert file.read_bytes() == b"somebody's own"
    assert not (folders / "output" / "wanloom").exists()


def test_a_full_disk_is_one_error_and_leaves_nothing_half_written(model: Any, folders: Path) -> None:
    with files_of_at_most(2_000):
        text = refused(model)
    assert "cannot be written" in text
    assert "Free space or choose another path" in text
    assert not list((folders / "loras").rglob("*.safetensors"))
    assert not (folders / "output" / "wanloom" / "training").exists()
    assert not list(folders.rglob("*.wanloom-*"))
