"""Clips made of frames in memory: the trainer reads every pixel and caption as it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_disk import files_of_at_most

from lora_core.errors import DatasetError, OutputError
from lora_core.families.registry import spec_named
from lora_core.training.clips.doctor import diagnose
from lora_core.training.clips.frames import read_frames
from lora_core.training.clips.from_frames import FramesOfClips, write_clips
from lora_core.training.clips.sheet import save_sheet_of_files
from lora_core.training.settings.clips import ClipSettings


def frames(num: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num, 48, 64, 3), dtype=np.uint8)


def test_the_trainer_reads_every_pixel_and_caption_as_it_was_given(tmp_path: Path) -> None:
    given = frames(34)
    folder = write_clips(FramesOfClips(given, ("one", "two"), 8.0), tmp_path)
    found = diagnose(folder, ClipSettings(), spec_named("pocket"))
    assert [(clip.name, clip.captions, clip.probe.fps) for clip in found.clips] == [
        ("clip-0001.mkv", ("one",), 8.0),
        ("clip-0002.mkv", ("two",), 8.0),
    ]
    for clip, wanted in zip(found.clips, np.split(given, 2), strict=True):
        assert np.array_equal(read_frames(clip.path, [index / 8 for index in range(17)]), wanted)


def test_clips_of_one_frame_are_pictures(tmp_path: Path) -> None:
    given = frames(2)
    folder = write_clips(FramesOfClips(given, ("one", "two"), 8.0), tmp_path)
    assert np.array_equal(read_frames(folder / "clip-0002.png", [0.0])[0], given[1])


def test_the_same_are_not_written_twice_and_others_lie_elsewhere(tmp_path: Path) -> None:
    clips = FramesOfClips(frames(4), ("one",), 8.0)
    folder = write_clips(clips, tmp_path)
    (folder / "mine.txt").touch()
    assert write_clips(clips, tmp_path) == folder
    assert (folder / "mine.txt").is_file()
    others = (FramesOfClips(frames(4)[::-1], ("one",), 8.0), FramesOfClips(frames(4), ("two",), 8.0))
    assert len({folder, *(other.place(tmp_path) for other in others)}) == 3


def test_frames_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(DatasetError) as caught:
        FramesOfClips(frames(5), ("one", "two"), 8.0)
    assert str(caught.value) == (
        "frames: 5 frames cannot be shared out evenly to 2 captions (equally long clips). "
        "Give as many captions as there are clips, a line each."
    )


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with files_of_at_most(1000), pytest.raises(OutputError, match="cannot be written"):
        write_clips(FramesOfClips(frames(34), ("one", "two"), 8.0), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_sheet_of_files_shows_the_window_that_is_trained_on(tmp_path: Path) -> None:
    from PIL import Image

    folder = write_clips(FramesOfClips(np.full((34, 64, 64, 3), (255, 0, 0), np.uint8), ("one", "two"), 8.0), tmp_path)
    diagnosis = diagnose(folder, ClipSettings(), spec_named("pocket"))
    if not diagnosis.clips:  # one colour all over, and nothing moves
        given = np.full((34, 64, 64, 3), (255, 0, 0), np.uint8)
        given[:, 10:30, 10:30] = np.arange(34, dtype=np.uint8)[:, None, None, None] * 7
        folder = write_clips(FramesOfClips(given, ("one", "two"), 8.0), tmp_path)
        diagnosis = diagnose(folder, ClipSettings(), spec_named("pocket"))
    assert save_sheet_of_files(diagnosis, spec_named("pocket"), tmp_path / "sheet.png") == ""
    with Image.open(tmp_path / "sheet.png") as sheet:
        red = (np.asarray(sheet.convert("RGB")) == (255, 0, 0)).all(axis=-1)
    assert red.mean() > 0.3
