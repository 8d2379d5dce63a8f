"""The preparation of a folder as a whole, in Python and as a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from filmed import film, moving, scene
from PIL import Image

from lora_core.cli import main
from lora_core.errors import DatasetError, ModelError, OutputError, TrainingError
from lora_core.families.opened import OpenedModel
from lora_core.families.registry import spec_named
from lora_core.families.wan.open import open_wan
from lora_core.training.clips.cached import read_text
from lora_core.training.clips.clip import Clip, Probe
from lora_core.training.clips.prepare import CACHE_NAME, bucket_lines, buckets_of, plan_takes, prepare
from lora_core.training.settings.clips import ClipSettings

Run = Callable[..., tuple[int, str, str]]
POCKET, I2V = spec_named("wan-pocket"), spec_named("wan2.2-i2v-a14b")


@pytest.fixture(scope="module")
def model() -> OpenedModel:
    return open_wan("pocket")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Film two clips, draw a picture, and lay a file beside them that is none."""
    clips = tmp_path / "clips"
    film(clips / "red.mp4", scene("red"))
    film(clips / "more" / "BLUE.MOV", scene("blue"), 32)
    Image.fromarray(moving(1, 80, 60)[0]).save(clips / "still.png")
    for name, caption in (("red", "a red circle"), ("more/BLUE", "sks a blue circle"), ("still", "a square")):
        (clips / f"{name}.txt").write_text(caption)
    (clips / "broken.mp4").write_bytes(b"no film")
    (clips / "broken.txt").write_text("a red cross")
    return clips


SETTINGS = ClipSettings(trigger="sks", min_frames=5)


def test_what_can_be_used_is_cached_and_the_rest_named(model: OpenedModel, folder: Path) -> None:
    prepared = prepare(folder, model, SETTINGS)
    clips = {clip.name: clip for clip in prepared.cache.clips}
    assert {name: clip.shape for name, clip in clips.items()} == {
        "red.mp4": (16, 5, 8, 8),
        "more/BLUE.MOV": (16, 3, 8, 8),
        "still.png": (16, 1, 10, 6),
    }
    assert {name: clip.captions for name, clip in clips.items()} == {
        "red.mp4": ("sks a red circle",),
        "more/BLUE.MOV": ("sks a blue circle",),
        "still.png": ("sks a square",),
    }
    assert len(read_text(clips["red.mp4"].texts[0])) == model.num_tokens("sks a red circle")
    assert [finding.name for finding in prepared.diagnosis.left_out] == ["broken.mp4"]
    assert any("no clip is held out" in note for note in prepared.notes)


def test_the_cache_lies_in_the_folder_and_is_never_taken_for_clips(model: OpenedModel, folder: Path) -> None:
    first = prepare(folder, model, SETTINGS)
    assert first.cache.folder == folder / CACHE_NAME
    told: list[tuple[int, int, str]] = []
    again = prepare(folder, model, SETTINGS, progress=lambda *report: told.append(report))
    assert again.cache.digest == first.cache.digest
    assert {what for _, _, what in told} == {"clips examined"}
    inside = prepare(folder, model, SETTINGS, cache=folder / "kept")
    assert inside.cache.digest == first.cache.digest
    assert len(prepare(folder, model, SETTINGS).diagnosis.findings) == 4


def test_a_clip_that_changed_is_encoded_again_and_the_digest_tells(model: OpenedModel, folder: Path) -> None:
    first = prepare(folder, model, SETTINGS)
    film(folder / "red.mp4", scene("green"))
    told: list[tuple[int, int, str]] = []
    again = prepare(folder, model, SETTINGS, progress=lambda *report: told.append(report))
    assert told[-1] == (1, 1, "encode clips")
    assert again.cache.digest != first.cache.digest


@pytest.mark.parametrize("cache", ["file", "file/cache"])
def test_a_cache_that_cannot_be_written_is_an_error_before_any_work(
    model: OpenedModel, folder: Path, tmp_path: Path, cache: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    told: list[tuple[int, int, str]] = []
    with pytest.raises(OutputError, match=r"file"):
        prepare(folder, model, SETTINGS, cache=tmp_path / cache, progress=lambda *report: told.append(report))
    assert told == []


def test_a_model_without_encoders_is_an_error_before_any_work(folder: Path, tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    with pytest.raises(ModelError, match="without a text encoder"):
        prepare(folder, open_wan(files.high, low_noise=files.low), SETTINGS)


def clip(name: str, num_frames: int, fps: float) -> Clip:
    seconds = num_frames / fps if fps else 0.0
    return Clip(name, Path(name), ("a ball",), Probe(num_frames, fps, seconds, 640, 480, name))


def test_image_models_are_not_trained_on_pictures_and_it_is_said() -> None:
    clips = [clip("a.mp4", 90, 16), clip("b.png", 1, 0)]
    takes, notes = plan_takes(clips, ClipSettings(), I2V)
    assert [take.clip.name for take in takes] == ["a.mp4"]
    assert "left out, pictures, of which Wan 2.2 I2V A14B is told all there is to learn: b.png" in notes
    with pytest.raises(DatasetError, match=r"Wan 2\.2 I2V A14B: nothing is left to train on; left out, pictures"):
        plan_takes(clips[1:], ClipSettings(), I2V)
    assert len(plan_takes(clips, ClipSettings(), replace(I2V, image_conditioned=False))[0]) == 2


def test_each_bucket_is_counted_and_those_that_fill_no_batch_are_named() -> None:
    clips = [*(clip(f"{index}.mp4", 20, 16) for index in range(3)), clip("b.png", 1, 0)]
    lines = bucket_lines(buckets_of(clips, ClipSettings(), POCKET), batch_size=2)
    assert lines[:2] == ("bucket 80x48, 17 frames: 3 clips", "bucket 80x48, 1 frame: 1 clip")
    assert "b.png" in lines[2]


# ---------------------------------------------------------------- the command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program with arguments; return exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lora-core", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def test_prepare_caches_draws_and_reports(run: Run, folder: Path, tmp_path: Path) -> None:
    report, sheet, cache = (tmp_path / name for name in ("report.json", "sheet.png", "cache"))
    arguments = ("--report", report, "--sheet", sheet, "--cache", cache, "--set", "min_frames=5", "--set", "flip=yes")
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
        (("--set", "flip=perhaps"), "flip: 'perhaps' is neither true nor false"),
        (("--set", "fps=24", "--set", "fps=16"), "--set: 'fps' is set twice. Leave one out."),
        (("--set", "num_frames=x"), "num_frames: 'x' is not a number"),
        (("--set", "num_frames=9.5"), "num_frames: '9.5' is not a whole number."),
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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("flip", "yes", r"flip: 'yes' is neither true nor false\."),
        ("fps", float("nan"), r"fps: nan is not finite"),
        ("max_upscale", 0.0, r"max_upscale: 0 \(above 0, 1 to enlarge nothing\)\."),
        ("held_out", 1.5, r"held_out: 1\.5 is no share \(0 to 1\)\."),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        ClipSettings(**{field: value})
