"""The command `train`, run as a user runs it: what it shows before it begins, and everything it refuses to begin with.

Of each refusal the text is tested, and that nothing half-written is left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from filmed import film, scene
from full_disk import files_of_at_most
from PIL import Image
from safetensors.torch import load_file, save_file

from lora_core.families.wan.pocket import pocket_paths
from lora_core.training.clips.doctor import diagnose
from lora_core.training.clips.layout import NO_CLIPS
from lora_core.training.run_folder import RunFolder
from lora_core.training.settings.clips import ClipSettings

Run = Callable[..., tuple[int, str, str]]
SMALL = tuple(f"--set={key}" for key in ("rank=2", "blocks=0", "targets=self_attn", "switch_every=1"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Film three clips with captions, and lay a file beside them that is none."""
    folder = tmp_path_factory.mktemp("filmed")
    for name in ("red", "green", "blue"):
        film(folder / f"{name}.mp4", scene(name))
        (folder / f"{name}.txt").write_text(f"a {name} circle moves right on a plain background")
    (folder / "broken.mp4").touch()
    return folder


@pytest.fixture
def train(run: Run, clips: Path, tmp_path: Path) -> Run:
    """Run a training of two steps into `out` from these clips, encoded once for all tests."""

    def call(*more: object, out: Path | None = None) -> tuple[int, str, str]:
        cache = clips.parent / "cache"
        chosen = () if "--resume" in more else ("--clips", clips, "--steps", 2, *SMALL)
        return run("train", *chosen, "--cache", cache, "-o", out or tmp_path / "out", *more)

    return call


def last(err: str) -> str:
    return err.splitlines()[-1].removeprefix("Error: ")


def refused(done: tuple[int, str, str]) -> str:
    code, out, err = done
    assert (code, out) == (1, ""), err
    assert err.count("Error: ") == 1
    return last(err)


# ---------------------------------------------------------------- what is shown


def test_what_is_trained_on_is_told_and_drawn_before_it_begins(train: Run, clips: Path, tmp_path: Path) -> None:
    code, out, err = train()
    assert code == 0, err
    assert "broken.mp4" in err
    assert "is empty: 0 bytes" in err
    assert "red.mp4" not in err.partition("out:")[0]
    assert "3 of 4 files are used: 3 videos" in err
    assert "bucket 64x64, 17 frames: 3 clips" in err
    folder = tmp_path / "out"
    with Image.open(folder / "clips.png") as sheet:
        assert sheet.height > 3 * 128
    assert {file.name for file in folder.glob("*.safetensors")} == {
        "out_high_noise.safetensors",
        "out_low_noise.safetensors",
    }
    assert str(folder / "out_high_noise.safetensors") in out


def test_the_folder_of_a_training_is_never_read_as_clips(train: Run, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    previews = ("--set=preview_every=2", "--set=preview_steps=1", "--set=preview_prompts=a red circle")
    code, _, err = train(*previews, out=folder / "out")
    assert code == 0, err
    assert list((folder / "out").rglob("*.mp4"))
    from lora_core.families.registry import spec_named

    found = diagnose(folder, ClipSettings(), spec_named("pocket"))
    assert [finding.name for finding in found.findings] == ["blue.mp4", "broken.mp4", "green.mp4", "red.mp4"]
    assert found.ignored[f"marked with {NO_CLIPS}"] == ("out/",)


def test_a_training_that_goes_on_draws_no_new_sheet(train: Run, tmp_path: Path) -> None:
    assert train("--stop-after", 1)[0] == 0
    (tmp_path / "out" / "clips.png").unlink()
    assert train("--resume")[0] == 0
    assert not (tmp_path / "out" / "clips.png").exists()


# ---------------------------------------------------------------- clips


def test_a_folder_without_a_usable_clip_is_refused(run: Run, tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    start = ("train", "--clips", clips, "--steps", 2, *SMALL, "-o", out)
    assert refused(run(*start)).startswith(f"{clips}: is empty (files ending in .mp4")
    film(clips / "a.mp4", scene("red"))
    assert refused(run(*start)) == (
        f"{clips}: its only file cannot be used: a.mp4 has no caption: no a.txt, no row of a list. "
        "Mend them as the report says."
    )
    (clips / "a.txt").write_text("a red circle")
    assert refused(run(*start)) == f"{clips}: 1 clip can be used (at least 2). Add clips, or set min_clips to 1."
    (clips / "a.txt").unlink()
    (clips / "captions.txt").write_text("one\ntwo\n")
    assert refused(run(*start)).startswith("captions.txt: its lines are 2, and the clips 1 (one line")
    assert not out.exists()
    assert sorted(path.name for path in clips.iterdir()) == ["a.mp4", "captions.txt"]


def test_clips_that_changed_since_a_training_began_are_told(run: Run, clips: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, folder)
    encoded = ("--cache", clips.parent / "cache")
    assert run("train", "--clips", folder, "--steps", 2, *SMALL, "-o", out, "--stop-after", 1, *encoded)[0] == 0
    (folder / "red.txt").write_text("a red ball")
    assert refused(run("train", "-o", out, "--resume", *encoded)) == (
        f"{out}/checkpoints/step-000001: the data changed since this training began. "
        "Put the data back as it was, or start anew elsewhere."
    )
    (folder / "red.txt").write_text((clips / "red.txt").read_text())
    assert run("train", "-o", out, "--resume", *encoded)[0] == 0


# ---------------------------------------------------------------- the model


def test_a_base_that_is_none_is_refused(train: Run, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    save_file({"layer.weight": torch.zeros(2, 2)}, base)
    assert refused(train("--model", base)).startswith(f"{base}: is no Wan transformer, its tensors are named layer")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def pieces(tmp_path: Path) -> tuple[object, ...]:
    """Return what names the pocket's other pieces for a model in single files."""
    paths = pocket_paths()
    return (f"--set=vae={paths.vae}", f"--set=text_encoder={paths.text_encoder}", f"--set=tokenizer={paths.tokenizer}")


def copied(source: str, path: Path, **metadata: str) -> Path:
    """Write an expert of the pocket under another name."""
    file = getattr(pocket_paths(), source)
    stated = {"config": '{"transformer": {"num_heads": 4, "text_dim": 64}}', **metadata}
    save_file(load_file(file), path, metadata=stated)
    return path


def test_an_experts_file_in_the_others_place_is_refused(train: Run, tmp_path: Path, pieces: tuple[object, ...]) -> None:
    high, low = copied("high_noise", tmp_path / "my_high_noise.safetensors"), tmp_path / "my_low_noise.safetensors"
    copied("low_noise", low)
    plain = copied("high_noise", tmp_path / "mine.safetensors")
    stated = copied("low_noise", tmp_path / "other.safetensors", expert="low_noise")

    def text(model: Path, low_noise: Path) -> str:
        return refused(train("--model", model, f"--set=low_noise={low_noise}", *pieces))

    assert text(low, high) == (
        f"{low}: is the low-noise expert, given in the place of {high.name}. Exchange the two files."
    )
    assert text(low, plain) == (
        f"{low}: is the low-noise expert by its name {low.name!r}, given as the high-noise one. "
        "Give the high-noise expert's file as model."
    )
    assert text(plain, high) == (
        f"{high}: is the high-noise expert by its name {high.name!r}, given as the low-noise one. "
        "Give the low-noise expert's file as low_noise."
    )
    assert text(stated, low) == (
        f"{stated}: is the low-noise expert by metadata 'expert', given as the high-noise one. "
        "Give the high-noise expert's file as model."
    )
    assert text(stated, high) == (
        f"{stated}: is the low-noise expert by metadata 'expert', given as the high-noise one. Exchange the two files."
    )
    assert text(plain, plain).startswith(f"{plain}: is given as both experts. Name the other expert's file")
    assert not (tmp_path / "out").exists()


def test_experts_in_their_places_are_trained(train: Run, tmp_path: Path, pieces: tuple[object, ...]) -> None:
    high = copied("high_noise", tmp_path / "a.safetensors", expert="high_noise")
    low = copied("low_noise", tmp_path / "b.safetensors", expert="low_noise")
    code, _, err = train("--model", high, f"--set=low_noise={low}", *pieces)
    assert code == 0, err


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--set=lr=0",), "lr: 0 teaches nothing (above 0, usually 1e-5 to 1e-3). Raise it."),
        (("--set=lr=-1e-4",), "lr: -0.0001 teaches nothing (above 0, usually 1e-5 to 1e-3). Raise it."),
        (("--steps=0",), "steps: 0 is out of range (at least 1). Choose a number in that range."),
        (("--set=steps=4",), "--steps: --set steps is given too. Leave one out."),
        (("--set=switch_every=2",), "--set: 'switch_every' is set twice. Leave one out."),
        (("--set=rnak=4",), "train: unknown key 'rnak' (nearest: 'rank'). Correct or remove it."),
        (("--set=num_frames=16",), "num_frames: 16 (4k+1, such as 13 or 17). Choose one of them."),
        (
            ("--set=background=red",),
            "background: 'red' is no colour (six hexadecimal digits, such as 808080). Correct the colour.",
        ),
        (
            ("--set=low_noise=nowhere.safetensors",),
            "nowhere.safetensors: no such file or folder, given as low_noise. Check the path.",
        ),
        (("--device=tpu",), None),
    ],
)
def test_a_key_that_cannot_be_is_refused(train: Run, tmp_path: Path, more: tuple[str, ...], text: str | None) -> None:
    code, out, err = train(*more)
    assert (code, out) == ((1, "") if text else (2, ""))
    assert text is None or last(err) == text
    assert not (tmp_path / "out").exists()


def test_a_rank_larger_than_a_layer_is_refused_and_leaves_nothing(run: Run, clips: Path, tmp_path: Path) -> None:
    keys = ("--set=rank=500", "--set=switch_every=1", "--steps", 2)
    text = refused(run("train", "--clips", clips, "--cache", tmp_path / "cache", "-o", tmp_path / "out", *keys))
    assert text.startswith("rank: 500 is larger than the layer 'blocks.0.")
    assert text.endswith(" Choose a smaller rank, or leave the layer out of the targets.")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the folder


def test_a_training_goes_on_with_its_own_configuration_only(train: Run, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert refused(train("--resume")) == (
        f"{out}: there is no training here to go on with. Leave out --resume to start one."
    )
    assert train("--stop-after", 1)[0] == 0
    assert refused(train()) == (
        f"{out}: there is a training here already. Pass --resume to go on with it, or choose another folder."
    )
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert refused(train("--resume", "--set=rank=4", "--set=lr=3e-4")) == (
        f"{out}: the training here has other settings: rank 2 there, 4 here; lr 0.0001 there, 0.0003 here. "
        "Go on with the same, or start anew in another folder."
    )
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert train("--resume")[0] == 0


def test_two_trainings_do_not_write_into_one_folder(train: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunFolder(out).locked():
        assert refused(train()) == (
            f"{out}: another training writes into this folder. Wait for it, or choose another folder."
        )
    assert {path.name for path in out.iterdir()} == {".lock", NO_CLIPS}


def test_a_folder_that_cannot_be_written_is_refused(train: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert refused(train(out=out)).startswith(f"{out}/config.toml: {tmp_path}/file is a file (a folder to write into)")
    assert refused(train(out=clips)) == f"{clips}: is the folder of clips itself. Choose another folder."


def test_a_full_disk_is_told_and_the_checkpoint_before_stays(train: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert train("--steps", 3, "--stop-after", 1)[0] == 0
    before = {path: path.read_bytes() for path in (out / "checkpoints").rglob("*") if path.is_file()}
    with files_of_at_most(8192):
        text = refused(train("--resume", "--stop-after", 2))
    assert text.startswith(f"{out}/checkpoints/step-000002: cannot be written: ")
    assert text.endswith(" Free space or choose another path.")
    assert {path: path.read_bytes() for path in (out / "checkpoints").rglob("*") if path.is_file()} == before
    assert train("--resume")[0] == 0


def test_a_disk_that_is_full_at_the_start_leaves_no_folder(train: Run, tmp_path: Path) -> None:
    assert train("--steps", 2, out=tmp_path / "other")[0] == 0  # all is encoded by now
    with files_of_at_most(100):
        text = refused(train())
    assert text.startswith(f"{tmp_path}/out/config.toml: cannot be written: ")
    assert not (tmp_path / "out").exists()


def test_the_tiny_model_without_encoders_says_what_it_lacks(train: Run, tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    text = refused(train("--model", files.high, f"--set=low_noise={files.low}"))
    assert "was opened without a text encoder" in text
    assert not (tmp_path / "out").exists()


def test_the_memory_of_every_plan_is_told_and_nothing_is_trained(train: Run, tmp_path: Path) -> None:
    code, out, err = train("--plan")
    assert code == 0
    first, *rows, end = out.splitlines()
    assert first.split("  ")[0] == "MiB at the peak"
    assert "as asked *" in first
    assert {row.split("  ")[0] for row in rows} >= {"frozen weights", "learning weights", "gradients", "in all"}
    assert end == "* is taken"
    assert 'optimizer = "adamw"' in err
    assert not (tmp_path / "out").exists()
