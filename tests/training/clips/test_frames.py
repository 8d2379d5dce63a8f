"""Frames of clips: the right ones, upright, in their colours, and no more of a film than is asked for."""

from __future__ import annotations

import shlex
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from filmed import film, greys, moving, turned
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from lora_core.errors import DatasetError
from lora_core.media.video import read_video, save_video
from lora_core.training.clips.background import parse_colour
from lora_core.training.clips.frames import read_frames


def ffmpeg(arguments: str, *paths: Path) -> None:
    words = [str(paths[int(word[1:])]) if word.startswith("@") else word for word in shlex.split(arguments)]
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *words], check=True, stdin=subprocess.DEVNULL)


def indices(frames: np.ndarray) -> list[int]:
    """Return which frame of `greys` each of these is."""
    return [round((float(frame.mean()) - 20) / 4) for frame in frames]


def at(fps: float, num_frames: int, first: int = 0) -> list[float]:
    return [(first + index) / fps for index in range(num_frames)]


@pytest.mark.parametrize("suffix", [".mp4", ".MP4", ".mov", ".mkv", ".avi"])
def test_every_frame_comes_as_it_was_filmed(tmp_path: Path, suffix: str) -> None:
    found = read_frames(film(tmp_path / f"a{suffix}", greys(17)), at(16, 17))
    assert found.shape == (17, 64, 64, 3)
    assert found.dtype == np.uint8
    assert indices(found) == list(range(17))


@pytest.mark.parametrize(("filmed_at", "expected"), [(8, [0, 0, 1, 1, 2, 2, 3, 3]), (32, [0, 2, 4, 6, 8, 10, 12, 14])])
def test_motion_keeps_its_speed_at_another_rate(tmp_path: Path, filmed_at: float, expected: list[int]) -> None:
    found = read_frames(film(tmp_path / "a.mp4", greys(20), filmed_at), at(16, 8))
    assert indices(found) == expected


def test_frames_of_a_film_at_24_are_never_more_than_half_a_frame_off(tmp_path: Path) -> None:
    found = indices(read_frames(film(tmp_path / "a.mp4", greys(25), 24), at(16, 17)))
    assert all(abs(index / 24 - time) <= 0.5 / 24 + 1e-6 for index, time in zip(found, at(16, 17), strict=True))
    assert found[-1] == 24


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_is_read_by_its_time_stamps(tmp_path: Path, suffix: str) -> None:
    times = [0, 0.25, 0.3, 0.35, 0.6, 1.0, 1.1]
    path = film(tmp_path / f"a{suffix}", greys(7), times=times)
    assert indices(read_frames(path, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0])) == [
        0,
        0,
        1,
        2,
        3,
        4,
        4,
        4,
        5,
        5,
    ]


def test_a_film_that_does_not_begin_at_zero_counts_from_its_first_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", greys(9), times=[3 + index / 16 for index in range(9)])
    assert indices(read_frames(path, at(16, 9))) == list(range(9))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("first", [20, 37, 40])
def test_a_window_behind_the_beginning_is_found_by_a_jump(tmp_path: Path, suffix: str, codec: str, first: int) -> None:
    path = film(tmp_path / f"a{suffix}", greys(50), codec=codec, options={"g": "12", "qmin": "1", "qmax": "2"})
    assert indices(read_frames(path, at(16, 9, first))) == list(range(first, first + 9))


def test_a_window_is_found_where_no_jump_is_possible(tmp_path: Path) -> None:
    path = film(tmp_path / "whole.mkv", greys(50), options={"g": "12"})
    with path.open("rb") as source, (tmp_path / "piped.mkv").open("wb") as target:
        command = [get_ffmpeg_exe(), "-v", "error", "-i", "-", "-c", "copy", "-f", "matroska", "-live", "1", "-"]
        subprocess.run(command, stdin=source, stdout=target, check=True)
    assert indices(read_frames(tmp_path / "piped.mkv", at(16, 9, 30))) == list(range(30, 39))


@pytest.mark.parametrize("turn", ["90", "180", "270", "hflip", "vflip"])
def test_a_film_is_turned_the_way_its_camera_was_held(tmp_path: Path, turn: str) -> None:
    """The judge is ffmpeg, which turns what it decodes by itself; old ones do not mirror."""
    straight = film(tmp_path / "a.mp4", moving(3, 48, 80))
    shown = turned(straight, tmp_path / "b.mp4", turn)
    mirrored = {"hflip": np.s_[:, :, ::-1], "vflip": np.s_[:, ::-1]}
    expected = read_frames(straight, at(16, 3))[mirrored[turn]] if turn in mirrored else read_video(shown)[0]
    found = read_frames(shown, at(16, 3))
    assert found.shape == expected.shape
    assert found.shape[1:3] == ((48, 80) if turn in ("180", "hflip", "vflip") else (80, 48))
    assert np.abs(found.astype(int) - expected).mean() < 1
    assert np.abs(found.astype(int) - read_frames(straight, at(16, 3)).reshape(found.shape)).mean() > 3


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [
        ("libx264", "yuv420p"),
        ("libx264", "yuv420p10le"),
        ("libx264", "yuv444p"),
        ("ffv1", "gbrp10le"),
        ("ffv1", "gray"),
    ],
)
def test_colours_of_any_depth_come_out_right(tmp_path: Path, codec: str, pixels: str) -> None:
    colours = [(220, 40, 40), (40, 160, 60), (50, 70, 220), (128, 128, 128), (250, 250, 250), (5, 5, 5)]
    frames = np.array(colours, np.uint8)[:, None, None, :].repeat(32, 1).repeat(32, 2)
    found = read_frames(film(tmp_path / "a.mkv", frames, codec=codec, pixels=pixels), at(16, 6))
    expected = frames if pixels != "gray" else np.rint(frames @ [0.299, 0.587, 0.114])[..., None]
    assert np.abs(found.astype(int) - expected).max() <= 4


def test_the_colour_matrix_that_a_film_names_is_used(tmp_path: Path) -> None:
    frames = np.full((3, 64, 64, 3), (220, 40, 40), np.uint8)
    found = read_frames(save_video(frames, tmp_path / "a.mp4", 16), at(16, 3))  # which says bt709
    assert np.abs(found.astype(int) - frames).max() <= 4


def test_a_large_film_that_names_no_matrix_has_that_of_hd(tmp_path: Path) -> None:
    frames = np.full((1, 720, 64, 3), (220, 40, 40), np.uint8)
    ffmpeg_made = tmp_path / "a.mp4"
    still = Image.fromarray(frames[0])
    still.save(tmp_path / "a.png")
    ffmpeg(
        "-i @0 -vf scale=out_color_matrix=bt709 -pix_fmt yuv420p -bsf:v h264_metadata=matrix_coefficients=2 @1",
        tmp_path / "a.png",
        ffmpeg_made,
    )
    assert np.abs(read_frames(ffmpeg_made, [0.0]).astype(int) - frames).max() <= 4


@pytest.mark.parametrize("rows", [64, 720])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p"])
def test_the_range_of_levels_that_a_film_names_is_used(tmp_path: Path, rows: int, matrix: str, form: str) -> None:
    frame = np.full((rows, 64, 3), (220, 40, 40), np.uint8)
    Image.fromarray(frame).save(tmp_path / "a.png")
    named = {"bt601": "smpte170m", "bt709": "bt709"}[matrix]
    coding = f"-pix_fmt {form} -color_range pc -colorspace {named}"
    ffmpeg(
        f"-i @0 -vf scale=out_color_matrix={matrix}:out_range=pc {coding} @1",
        tmp_path / "a.png",
        tmp_path / "a.mp4",
    )
    found = read_frames(tmp_path / "a.mp4", [0.0])
    assert np.abs(found.astype(int) - frame).max() <= 4


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    ffmpeg("-i @0 -c copy -aspect 2:1 @1", film(tmp_path / "a.mp4", moving(3)), wide := tmp_path / "b.mp4")
    assert read_frames(wide, at(16, 3)).shape == (3, 64, 128, 3)


def test_odd_sizes_are_read_to_their_last_row(tmp_path: Path) -> None:
    frames = moving(5, 45, 61)
    found = read_frames(film(tmp_path / "a.mkv", frames, codec="ffv1", pixels="bgr0"), at(16, 5))
    assert (found == frames).all()


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mov", "qtrle", "argb"), ("a.webm", "libvpx-vp9", "yuva420p"), ("b.webm", "libvpx", "yuva420p")],
)
def test_a_film_with_transparency_stands_before_the_background(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    frames = np.zeros((4, 64, 64, 4), np.uint8)
    frames[:, :32] = (200, 30, 30, 255)
    path = film(tmp_path / name, frames, codec=codec, pixels=pixels, source="rgba", options={"auto-alt-ref": "0"})
    found = read_frames(path, at(16, 4), "00ff00")
    assert np.abs(found[:, :28].astype(int) - (200, 30, 30)).max() <= 12
    assert np.abs(found[:, 36:].astype(int) - (0, 255, 0)).max() <= 12


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_moving_picture_is_read_by_its_durations(tmp_path: Path, suffix: str) -> None:
    stills = [Image.fromarray(frame) for frame in greys(4)]
    path = tmp_path / f"a{suffix}"
    stills[0].save(path, save_all=True, append_images=stills[1:], duration=[100, 300, 100, 100], lossless=True)
    assert indices(read_frames(path, [0, 0.1, 0.2, 0.3, 0.4, 0.5])) == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(moving(1, 32, 48)[0]).save(tmp_path / "a.png", exif=exif)
    found = read_frames(tmp_path / "a.png", [0.0])
    assert found.shape == ((1, 32, 48, 3) if orientation <= 4 else (1, 48, 32, 3))


def test_a_picture_with_transparency_stands_before_the_background(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (200, 30, 30, 255)
    pixels[4:] = (200, 200, 200, 51)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_frames(tmp_path / "a.png", [0.0], "ff0000")[0]
    assert found[0, 0].tolist() == [200, 30, 30]
    assert found[7, 0].tolist() == [244, 40, 40]


def test_a_picture_of_16_bits_keeps_its_greys(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 32896, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_frames(tmp_path / "a.png", [0.0])[0, 0, :, 0].tolist() == [0, 128, 255]


# ---------------------------------------------------------------- faults and memory


def test_a_film_that_ends_early_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", greys(9))
    with pytest.raises(
        DatasetError, match=r"a\.mp4: ends after 0\.50 s \(a frame at 1\.00 s\)\. Check that it plays\."
    ):
        read_frames(path, at(16, 17))


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.gif"])
def test_a_file_that_is_none_of_its_kind_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no clip at all" * 99)
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read as a .*\. (Check that it plays|Save it again)\."):
        read_frames(tmp_path / name, [0.0])


@pytest.mark.parametrize("text", ["", "red", "12345", "gggggg"])
def test_a_background_that_is_no_colour_is_an_error(text: str) -> None:
    with pytest.raises(DatasetError, match=r"background: .* is no colour"):
        parse_colour(text)


def test_a_long_film_is_never_held_in_memory(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", greys(50).repeat(8, axis=0).repeat(8, axis=1).repeat(8, axis=2), 160)
    tracemalloc.start()
    try:
        found = read_frames(path, at(16, 33), shape=lambda frame: frame[::8, ::8].copy())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (33, 64, 64, 3)
    assert peak < 12 * 512 * 512 * 3
