"""The commands `prepare create`, `validate` and `convert`, run as a user runs them, and the old way beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filmed import film, moving

from lora_core import read_video

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("num_frames", [5, 33])
def test_clips_of_any_length_are_drawn_and_pass_the_check_of_that_length(
    num_frames: int, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "shapes"
    code, out, _ = run("prepare", "create", folder, "--clips", 5, "--frames", num_frames)
    assert (code, out) == (0, f"{folder}: 5 clips of {num_frames} frames, with captions\n")
    videos = sorted(folder.glob("*.mp4"))
    assert [len(read_video(video)[0]) for video in videos] == [num_frames] * 5
    assert len({video.with_suffix(".txt").read_text() for video in videos}) == 5
    code, out, err = run("prepare", "validate", folder, "--frames", num_frames)
    assert code == 0, err
    assert "5 of 5 files are used" in out


def test_the_same_seed_draws_the_same_clips(run: Run, tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        run("prepare", "create", tmp_path / name, "--clips", 2, "--frames", 5, "--seed", seed)
        drawn.append([path.read_bytes() for path in sorted((tmp_path / name).glob("*.mp4"))])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_clips_that_are_too_short_are_named_with_their_frames(run: Run, tmp_path: Path) -> None:
    for name, num_frames in (("short", 17), ("long", 33), ("late", 30)):
        film(tmp_path / "clips" / f"{name}.mp4", moving(num_frames))
        (tmp_path / "clips" / f"{name}.txt").write_text("a square")
    report = tmp_path / "report.json"
    code, out, err = run("prepare", "validate", tmp_path / "clips", "--frames", 33, "--report", report)
    assert code == 1
    assert "2 clips are too short for 33 frames: late.mp4 (30), short.mp4 (17) (33 frames at 16 fps, 2.00 s)." in err
    assert "ok   long.mp4" in out
    assert {row["file"]: row["use"] for row in json.loads(report.read_text())["files"]} == {
        "short.mp4": False,
        "long.mp4": True,
        "late.mp4": False,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "new", "--frames", 16), "frames: 16 is not 4 k + 1 (nearest: 13 or 17). Choose one of them."),
        (("create", "new", "--frames", 1), "frames: 1 is out of range (5 to 1001)."),
        (("create", "new", "--clips", 0), "clips: 0 is out of range (1 to 10000)."),
        (("create", "new", "--seed", -1), "seed: -1 is out of range"),
        (("create", "."), ".: is not empty (a new folder, or an empty one). Choose another."),
        (("validate", "clips", "--frames", 18), "num_frames: 18 (4k+1, such as 17 or 21). Choose one of them."),
        (("validate", "clips", "--frames", 17, "--set", "num_frames=21"), "--set: 'num_frames' is set twice."),
        (("validate", "gone", "--frames", 17), "gone: there is no such folder (a folder of clips). Check the path."),
        (("convert", "gone.json", "new"), "gone.json: there is no such file or folder (a folder of clips, or a list"),
        (("convert", "clips", "clips"), "clips: is not empty (a new folder, or an empty one). Choose another."),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "clips" / "a.mp4", moving(17))
    code, out, err = run("prepare", *arguments)
    assert (code, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_called_like_a_command_is_examined_by_its_path(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        film(tmp_path / "create" / f"{name}.mp4", moving(17, seed=ord(name)))
        (tmp_path / "create" / f"{name}.txt").write_text("a square")
    for words in (("./create", "--check"), ("--check", "./create"), ("encode", "create", "--check")):
        code, out, err = run("prepare", *words)
        assert (code, "2 of 2 files are used" in out) == (0, True), err
    assert run("prepare")[0] == 2
