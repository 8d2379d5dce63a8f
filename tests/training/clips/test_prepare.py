"""The preparation of a folder as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from filmed import film, mixed_folder, scene

from lora_core.errors import ModelError, OutputError, TrainingError
from lora_core.families.opened import OpenedModel
from lora_core.families.registry import spec_named
from lora_core.families.wan.open import open_wan
from lora_core.training.clips.cached import read_text
from lora_core.training.clips.clip import Clip, Probe
from lora_core.training.clips.layout import CACHE_NAME
from lora_core.training.clips.prepare import bucket_lines, buckets_of, prepare
from lora_core.training.settings.clips import ClipSettings

POCKET = spec_named("wan-pocket")


@pytest.fixture(scope="module")
def model() -> OpenedModel:
    return open_wan("pocket")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mixed_folder(tmp_path / "clips")


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
    assert not any("left aside" in note for note in again.diagnosis.notes)
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


def test_each_bucket_is_counted_and_those_that_fill_no_batch_are_named() -> None:
    clips = [*(clip(f"{index}.mp4", 20, 16) for index in range(3)), clip("b.png", 1, 0)]
    lines = bucket_lines(buckets_of(clips, ClipSettings(), POCKET), batch_size=2)
    assert lines[:2] == ("bucket 80x48, 17 frames: 3 clips", "bucket 80x48, 1 frame: 1 clip")
    assert "b.png" in lines[2]


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
