"""The command `prepare`, run as a user runs it: what it writes and says of a folder, good or bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from filmed import film, mixed_folder, scene
from full_disk import files_of_at_most
from PIL import Image
from safetensors.torch import load_file, save_file

from lora_core.training.clips.layout import CACHE_NAME

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mixed_folder(tmp_path / "clips")


def test_prepare_caches_draws_and_reports(run: Run, folder: Path, tmp_path: Path) -> None:
    report, sheet, cache = (tmp_path / name for name in ("report.json", "sheet.png", "cache"))
    arguments = ("--report", report, "--sheet", sheet, "--cache", cache, "--set", "min_frames=5", "--set", "flip=true")
    code, out, err = run("prepare", folder, *arguments)
    assert (code, out) == (0, f"{cache}: 3 clips to train on, 0 held out, 6 entries in all\n")
    assert "broken.mp4" in err
    with Image.open(sheet) as drawn:
        assert drawn.height > 3 * 128
    files = {row["file"]: row for row in json.loads(report.read_text())["files"]}
    assert {name: row["bucket"] for name, row in files.items()} == {
        "broken.mp4": None,
        "more/BLUE.MOV": "64x64, 9 frames",
        "red.mp4": "64x64, 17 frames",
        "still.png": "48x80, 1 frame",
    }
    assert files["broken.mp4"]["use"] is False
    assert not (folder / CACHE_NAME).exists()


def test_a_check_encodes_nothing_and_needs_no_encoders(run: Run, folder: Path, tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    settings = ("--set", "num_frames=9", "--set", "resolution=64")
    code, out, _ = run("prepare", folder, "--check", "--model", files.high, *settings)
    assert code == 0
    assert "broken.mp4" in out
    assert "bucket 64x64, 9 frames: 2 clips" in out
    assert not (folder / CACHE_NAME).exists()


def test_a_folder_too_bad_to_go_on_is_reported_all_the_same(run: Run, folder: Path, tmp_path: Path) -> None:
    arguments = ("--set", "max_bad=0.1", "--set", "min_frames=5", "--report", tmp_path / "report.json")
    for more in ((), ("--check",)):
        code, _, err = run("prepare", folder, *arguments, *more)
        assert code == 1
        assert "1 of its 4 files are left out: broken.mp4" in err.replace("\n", " ")
        assert len(json.loads((tmp_path / "report.json").read_text())["files"]) == 4
        (tmp_path / "report.json").unlink()
    assert not (folder / CACHE_NAME).exists()


def test_a_report_on_the_standard_output_stands_there_alone(run: Run, folder: Path) -> None:
    _, out, _ = run("prepare", folder, "--check", "--report", "-", "--set", "min_frames=5")
    assert len(json.loads(out)["files"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "flipp=true"), "--set: unknown key 'flipp' (nearest: 'flip')."),
        (("--set", "flip"), "--set: 'flip' sets nothing (KEY=VALUE)."),
        (("--set", "flip=perhaps"), "flip: 'perhaps' is not true or false."),
        (("--set", "fps=24", "--set", "fps=16"), "--set: 'fps' is set twice. Leave one out."),
        (("--set", "num_frames=x"), "num_frames: 'x' is not a whole number."),
        (("--set", "num_frames=9.5"), "num_frames: 9.5 is not a whole number."),
        (("--set", "fps=-1"), "fps: cannot play -1 frames per second (0.01 to 240)."),
        (("--set", "cut=tail"), "cut: unknown value 'tail'"),
        (("--set", "background=red"), "background: 'red' is no colour"),
        (("--set", "num_frames=16"), "num_frames: 16 (4k+1, such as 13 or 17)."),
        (
            ("--check", "--sheet", "sheet.png"),
            "--sheet: --check encodes nothing to put there. Leave",
        ),
        (("--sheet", "sheet.jpg"), "sheet.jpg: "),
    ],
)
def test_what_cannot_be_is_one_clear_error(run: Run, folder: Path, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run("prepare", folder, *arguments)
    assert (code, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert not (folder / CACHE_NAME).exists()


def no_such_folder(clips: Path) -> None:
    pass


def empty(clips: Path) -> None:
    clips.mkdir()


def only_notes(clips: Path) -> None:
    clips.mkdir()
    (clips / "notes.txt").write_text("later")


def one_clip(clips: Path) -> None:
    film(clips / "a.mp4", scene("red"))
    (clips / "a.txt").write_text("a red circle")


def one_clip_of_two(clips: Path) -> None:
    one_clip(clips)
    (clips / "b.mp4").touch()


def all_bad(clips: Path) -> None:
    film(clips / "a.mp4", scene("red"))
    (clips / "b.mp4").touch()
    (clips / "b.txt").write_text("a blue circle")


def three_captions_for_two(clips: Path) -> None:
    for name, colour in (("a", "red"), ("b", "blue")):
        film(clips / f"{name}.mp4", scene(colour))
    (clips / "captions.txt").write_text("a red circle\na blue circle\na green circle\n")


@pytest.mark.parametrize(
    ("lay_out", "message"),
    [
        (no_such_folder, "{clips}: there is no such folder (a folder of clips). Check the path."),
        (empty, "{clips}: is empty (files ending in .mp4 .mov .mkv .webm .gif .avi .png .jpg .jpeg .webp .bmp)."),
        (only_notes, "{clips}: holds no clips, only 1 .txt (files ending in .mp4"),
        (one_clip, "{clips}: 1 clip can be used (at least 2). Add clips, or set min_clips to 1."),
        (one_clip_of_two, "{clips}: 1 clip can be used, 1 left out: b.mp4 is empty: 0 bytes; has no caption"),
        (
            all_bad,
            "{clips}: none of its 2 files can be used: a.mp4 has no caption: no a.txt, no row of a list; "
            "b.mp4 is empty: 0 bytes. Mend them as the report says.",
        ),
        (
            three_captions_for_two,
            "captions.txt: its lines are 3, and the clips 2 (one line for each clip in the order of their names, or "
            "`name | caption`). Name the clip in each line.",
        ),
    ],
)
def test_a_folder_that_cannot_be_trained_from_is_one_clear_error(
    run: Run, tmp_path: Path, lay_out: Callable[[Path], None], message: str
) -> None:
    clips = tmp_path / "clips"
    lay_out(clips)
    before = sorted(tmp_path.rglob("*"))
    for more in ((), ("--check",)):
        code, _, err = run("prepare", clips, *more)
        assert code == 1
        assert err.splitlines()[-1].startswith(f"Error: {message.format(clips=clips)}")
    assert sorted(tmp_path.rglob("*")) == before


def test_one_clip_is_enough_where_that_is_meant(run: Run, tmp_path: Path) -> None:
    one_clip(tmp_path / "clips")
    assert run("prepare", tmp_path / "clips", "--set", "min_clips=1")[0] == 0


def test_a_disk_that_is_full_is_told_and_leaves_no_half_entry(run: Run, folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with files_of_at_most(8192):
        code, _, err = run("prepare", folder, "--set", "min_frames=5", "--cache", cache)
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith(f"Error: {cache}/latents/")
    assert "cannot be written: " in last
    assert "File too large" in last
    assert last.endswith(" Free space or choose another path.")
    left = [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]
    assert {path.parent.name for path in left} == {"texts"}
    for path in left:
        assert load_file(path)["text"].ndim == 2
    assert run("prepare", folder, "--set", "min_frames=5", "--cache", cache)[0] == 0


def test_a_base_that_is_none_is_named_before_any_work(run: Run, folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    save_file({"layer.weight": torch.zeros(2, 2)}, base)
    code, out, err = run("prepare", folder, "--model", base)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"Error: {base}: is no Wan transformer, its tensors are named layer.weight, … "
        "(blocks.0.self_attn.q.weight or blocks.0.attn1.to_q.weight, …). Choose a Wan model."
    )
    assert not (folder / CACHE_NAME).exists()
