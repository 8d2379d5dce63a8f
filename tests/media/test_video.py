"""Clips: what is written can be read back, and a failure leaves nothing behind."""

import errno
import os
import re

import numpy as np
import pytest
from PIL import Image

from lora_core.errors import OutputError, RequestError
from lora_core.media import video
from lora_core.media.frames import write_frames
from lora_core.media.rate import HIGHEST_FPS, LOWEST_FPS
from lora_core.media.video import check_output, enlarge, read_video, save_video


def moving_square(num_frames=17, size=64):
    """Draw a red square that moves right over grey, in whole blocks of 8 so that chroma is not at stake."""
    frames = np.full((num_frames, size, size, 3), (90, 95, 110), np.uint8)
    for index, frame in enumerate(frames):
        left = 8 * (index * (size - 16) // (8 * max(1, num_frames - 1)))
        frame[24:40, left : left + 16] = (210, 40, 40)
    return frames


def left_behind(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.mp4", 12), ("a.MP4", 12), ("a.gif", 2), ("a.mkv", 0), ("frames", 0)]
)
@pytest.mark.parametrize("num_frames", [1, 17])
def test_every_frame_comes_back_as_it_was_written(tmp_path, name, tolerance, num_frames):
    frames = moving_square(num_frames)
    path = save_video(frames, tmp_path / "new" / name, fps=16)
    found, fps = read_video(path)
    assert found.shape == frames.shape
    assert fps == pytest.approx(16, rel=0.05)
    inside = np.abs(found.astype(int) - frames)[:, 2:-2, 2:-2]  # a codec may soften the square's edges
    assert np.percentile(inside, 95) <= tolerance
    assert left_behind(tmp_path / "new") == [name]


def test_a_webp_keeps_its_frames_and_its_length(tmp_path):
    found, fps = read_video(save_video(moving_square(), tmp_path / "a.webp", fps=12.5))
    assert found.shape == (17, 64, 64, 3)
    assert fps == pytest.approx(12.5, rel=0.02)


@pytest.mark.parametrize("name", ["still.mp4", "still.gif"])
def test_frames_that_repeat_are_not_lost(tmp_path, name):
    found, _ = read_video(save_video(np.repeat(moving_square(1), 9, axis=0), tmp_path / name))
    assert len(found) == 9


def test_colours_survive_an_mp4(tmp_path):
    colours = [
        (220, 40, 40),
        (40, 160, 60),
        (50, 70, 220),
        (230, 210, 60),
        (150, 60, 190),
        (240, 240, 240),
        (10, 10, 10),
    ]
    frames = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    found, _ = read_video(save_video(frames, tmp_path / "a.mp4"))
    assert np.abs(found.astype(int) - frames).max() <= 4


def test_an_mp4_is_h264_with_half_chroma_and_its_frame_rate(tmp_path):
    path = save_video(moving_square(), tmp_path / "a.mp4", fps=23.976)
    _, words = video._ffmpeg(["-i", str(path), "-f", "null", "-"])
    assert re.search(r"Video: h264 .*yuv420p.*bt709.* 64x64.* 23\.98 fps", words)


def test_odd_sizes_are_widened_by_one_pixel_for_mp4(tmp_path):
    found, _ = read_video(save_video(np.full((3, 33, 31, 3), 200, np.uint8), tmp_path / "a.mp4"))
    assert found.shape == (3, 34, 32, 3)


def test_small_clips_can_be_enlarged_without_smoothing(tmp_path):
    frames = moving_square(2, 16)
    found, _ = read_video(save_video(frames, tmp_path / "frames", scale=4))
    assert found.shape == (2, 64, 64, 3)
    assert np.array_equal(found, enlarge(frames, 4))
    assert np.array_equal(found[:, ::4, ::4], frames)


def test_an_unknown_extension_is_refused_with_the_nearest(tmp_path):
    for act in (lambda p: save_video(moving_square(1), p), check_output):
        with pytest.raises(OutputError) as error:
            act(tmp_path / "clip.mpg4")
        expected = "nearest: '.mp4', or no extension for a folder of PNG frames"
        assert str(error.value).endswith(f"cannot write a video as '.mpg4' ({expected}). Change the name.")
        with pytest.raises(OutputError, match=r"one of \.mp4, \.mkv, \.gif, \.webp, or no extension"):
            act(tmp_path / "clip.docx")
    assert left_behind(tmp_path) == []


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_video(moving_square(1), tmp_path / "a.gif")
    before = path.read_bytes()

    def full(frames, temporary, fps):
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(video._WRITERS, ".gif", full)
    with pytest.raises(OutputError) as error:
        save_video(moving_square(1), path)
    reason = f"[Errno {errno.ENOSPC}] No space left on device"
    assert str(error.value) == f"{path}: cannot be written: {reason}. Free space or choose another path."
    assert path.read_bytes() == before
    assert left_behind(tmp_path) == ["a.gif"]


def test_what_ffmpeg_says_is_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_write_mp4", lambda f, p, fps: video._encode(f, p, fps, "-c:v no_such_codec"))
    monkeypatch.setitem(video._WRITERS, ".mp4", video._write_mp4)
    with pytest.raises(OutputError, match=r"a\.mp4: cannot be written: .*(codec|encoder|Error)"):
        save_video(moving_square(1), tmp_path / "a.mp4")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, stop):
    def interrupted(frames, temporary, fps):
        if temporary.suffix:
            temporary.write_bytes(b"half")
        else:
            temporary.mkdir()
        raise stop

    for name, suffix in (("a.mp4", ".mp4"), ("frames", "")):
        monkeypatch.setitem(video._WRITERS, suffix, interrupted)
        with pytest.raises(stop):
            save_video(moving_square(1), tmp_path / name)
    assert left_behind(tmp_path) == []


def test_a_folder_without_permission_is_an_error(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as change:
        change.setattr("lora_core.atomic._locked_folder", denied)
        for name in ("a.mp4", "frames"):
            with pytest.raises(OutputError, match=r"cannot be written: .*Permission denied"):
                save_video(moving_square(1), tmp_path / name)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    for name in ("a.mp4", "frames"):
        with pytest.raises(OutputError, match="may not write into"):
            check_output(tmp_path / "new" / name)


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("a.mp4", "frames"):
        for act in (lambda path: save_video(moving_square(1), path), check_output):
            with pytest.raises(OutputError, match="is a file"):
                act(tmp_path / "file" / name)


def test_frames_replace_earlier_frames_and_nothing_else(tmp_path):
    save_video(moving_square(17), tmp_path / "frames")
    save_video(moving_square(5), tmp_path / "frames")
    assert len(read_video(tmp_path / "frames")[0]) == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match=r"the folder holds 'thesis\.txt'"):
        save_video(moving_square(1), tmp_path / "mine")
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"):
        check_output(tmp_path / "a.mp4")
    (tmp_path / "plain").write_text("x")
    with pytest.raises(OutputError, match="a file has this name"):
        save_video(moving_square(1), tmp_path / "plain")
    assert left_behind(tmp_path) == ["a.mp4", "frames", "mine", "plain"]


def test_pictures_of_a_persons_own_are_never_replaced(tmp_path):
    mine, edited, added = tmp_path / "mine", tmp_path / "edited", tmp_path / "added"
    mine.mkdir()
    Image.new("RGB", (8, 8)).save(mine / "frame_00000.png")
    for folder in (edited, added):
        save_video(moving_square(2), folder)
    Image.new("RGB", (8, 8)).save(edited / "frame_00001.png")
    Image.new("RGB", (8, 8)).save(added / "frame_00002.png")
    for folder, name in ((mine, "frame_00000.png"), (edited, "frame_00001.png"), (added, "frame_00002.png")):
        before = (folder / name).read_bytes()
        for act in (lambda path: save_video(moving_square(1), path), check_output):
            with pytest.raises(OutputError) as error:
                act(folder)
            assert str(error.value) == (
                f"{folder}: the folder holds {name!r}, which no earlier run wrote so "
                "(a new name, or frames of an earlier run). Choose another."
            )
        assert (folder / name).read_bytes() == before


def test_pictures_that_come_while_frames_are_written_stay(tmp_path, monkeypatch):
    def slow(frames, temporary, fps):
        write_frames(frames, temporary, fps)
        (tmp_path / "frames").mkdir()
        (tmp_path / "frames" / "frame_00000.png").write_text("mine")

    monkeypatch.setitem(video._WRITERS, "", slow)
    with pytest.raises(OutputError, match="which no earlier run wrote"):
        save_video(moving_square(1), tmp_path / "frames")
    assert (tmp_path / "frames" / "frame_00000.png").read_text() == "mine"
    assert left_behind(tmp_path) == ["frames"]


@pytest.mark.parametrize(
    "record", ["", "[" * 100_000, "[]", '{"made_by": "wanloom"}', '{"made_by": "wanloom", "frames": 3}']
)
def test_a_record_that_tells_nothing_protects_the_folder(tmp_path, record):
    save_video(moving_square(1), tmp_path / "frames")
    (tmp_path / "frames" / "frames.json").write_text(record)
    with pytest.raises(OutputError, match="the folder holds 'frame_00000"):
        save_video(moving_square(1), tmp_path / "frames")


def test_a_link_to_frames_or_to_a_video_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("frames", "a.gif"):
        (tmp_path / name).symlink_to(tmp_path / "far" / name)
        for num_frames in (3, 5):
            save_video(moving_square(num_frames), tmp_path / name)
            assert len(read_video(tmp_path / "far" / name)[0]) == num_frames
        assert (tmp_path / name).is_symlink()
    assert left_behind(tmp_path / "far") == ["a.gif", "frames"]


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_what_is_not_frames_is_refused(tmp_path, frames):
    with pytest.raises(OutputError, match="cannot write frames of shape"):
        save_video(frames, tmp_path / "a.mp4")


@pytest.mark.parametrize("fps", [0, -1, 1e30, 1e-30, float("nan"), float("inf"), None, "16"])
def test_a_rate_that_no_player_knows_is_refused(tmp_path, fps):
    with pytest.raises(OutputError, match=r"a\.mp4: .*(0\.01 to 240|a finite real number)|fps is .* \(float\)"):
        save_video(moving_square(1), tmp_path / "a.mp4", fps=fps)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "frames"])
@pytest.mark.parametrize("fps", [LOWEST_FPS, HIGHEST_FPS])
def test_the_slowest_and_the_fastest_rate_can_be_written_in_every_format(tmp_path, name, fps):
    assert len(read_video(save_video(moving_square(1), tmp_path / name, fps))[0]) >= 1


def test_what_is_no_video_is_an_error_that_says_so(tmp_path):
    with pytest.raises(RequestError, match="there is no such video"):
        read_video(tmp_path / "none.mp4")
    for name, message in (("noise.mp4", "cannot be read as a video"), ("noise.gif", "is not a picture")):
        (tmp_path / name).write_bytes(os.urandom(2000))
        with pytest.raises(RequestError, match=message):
            read_video(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no pictures"):
        read_video(tmp_path / "empty")


def test_pictures_of_different_sizes_are_no_clip(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (9, 8)).save(tmp_path / "b.png")
    with pytest.raises(RequestError, match=r"b\.png: is 9x8 \(8x8 like a\.png\)"):
        read_video(tmp_path)
