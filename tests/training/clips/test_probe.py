"""The probe: what real files are, in every form that people have them in, and what is wrong with those that are bad."""

import hashlib
import shutil

import numpy as np
import pytest
from filmed import turned
from PIL import Image

from lora_core.errors import DatasetError
from lora_core.training.clips.fault import UnusableClipError
from lora_core.training.clips.probe import probe

from .making import CODINGS, cut, ffmpeg, moving, write_clip, write_stamped


def fault_of(path):
    with pytest.raises(UnusableClipError) as caught:
        probe(path)
    return caught.value.fault


@pytest.mark.parametrize("suffix", [*CODINGS, ".MP4", ".WebM"])
def test_every_kind_of_video_is_counted_to_its_last_frame(tmp_path, suffix):
    path = write_clip(tmp_path / f"a{suffix}", moving(25, width=80, height=48), fps=12.5)
    found = probe(path)
    assert (found.num_frames, found.width, found.height) == (25, 80, 48)
    assert found.fps == pytest.approx(12.5, rel=0.01)
    assert found.seconds == pytest.approx(2, rel=0.01)
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.num_blank, found.is_picture) == (0, False)
    assert found.change > 50


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp", "a.bmp"])
def test_a_picture_is_one_frame_without_a_rate(tmp_path, name):
    Image.fromarray(moving(1, width=40, height=30)[0]).save(tmp_path / name)
    found = probe(tmp_path / name)
    assert found.is_picture
    assert (found.num_frames, found.fps, found.seconds, found.width, found.height) == (1, 0, 0, 40, 30)


@pytest.mark.parametrize("name", ["a.webp", "a.gif", "a.png"])
def test_a_picture_that_moves_is_a_video(tmp_path, name):
    first, *rest = map(Image.fromarray, moving(9))
    first.save(tmp_path / name, save_all=True, append_images=rest, duration=50)
    found = probe(tmp_path / name)
    assert (found.num_frames, found.fps, found.is_picture) == (9, pytest.approx(20), False)


def test_a_gif_of_one_frame_is_a_picture(tmp_path):
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.gif")
    assert probe(tmp_path / "a.gif").is_picture


@pytest.mark.parametrize(("degrees", "size"), [(0, (80, 48)), (90, (48, 80)), (180, (80, 48)), (270, (48, 80))])
def test_a_video_has_the_size_at_which_its_camera_was_held(tmp_path, degrees, size):
    path = write_clip(tmp_path / "a.mp4", moving(5, width=80, height=48))
    found = probe(turned(path, tmp_path / "turned.mp4", str(degrees)))
    assert (found.width, found.height) == size


def test_a_photo_has_the_size_at_which_its_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(moving(1, width=40, height=24)[0]).save(tmp_path / "a.jpg", exif=exif)
    found = probe(tmp_path / "a.jpg")
    assert (found.width, found.height) == (24, 40)


def test_a_variable_rate_is_the_mean_over_the_time_stamps(tmp_path):
    times = [0, 0.1, 0.2, 0.25, 0.3, 1.1, 1.2]
    found = probe(write_stamped(tmp_path / "a.mp4", moving(7), times))
    assert found.fps == pytest.approx(6 / 1.2, rel=0.01)
    assert found.longest_gap == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    "coding", ["-c:v libx264 -pix_fmt yuv420p10le", "-c:v libx264 -pix_fmt yuv444p", "-c:v ffv1 -pix_fmt yuv422p10le"]
)
def test_ten_bits_and_other_ways_to_store_colours_are_read(tmp_path, coding):
    found = probe(write_clip(tmp_path / "a.mkv", coding=coding))
    assert (found.num_frames, found.num_blank) == (17, 0)


@pytest.mark.parametrize("name", ["long_sound.mp4", "long_sound.mkv"])
def test_sound_that_is_longer_than_the_picture_is_no_fault(tmp_path, name):
    path = write_clip(tmp_path / "a.mp4")
    ffmpeg("-f lavfi -i sine=d=3 -i", path, "-c:v copy", tmp_path / name)
    assert probe(tmp_path / name).num_frames == 17


def test_a_video_that_was_trimmed_without_coding_it_again_is_no_fault(tmp_path):
    """Its index still knows the frames before the cut, which are decoded and not shown."""
    path = write_clip(tmp_path / "a.mp4", moving(34))
    ffmpeg("-ss 0.5 -i", path, "-c copy", tmp_path / "b.mp4")
    assert 24 <= probe(tmp_path / "b.mp4").num_frames <= 27


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("suffix", CODINGS)
def test_a_file_that_is_cut_is_told(tmp_path, suffix, share):
    fault = fault_of(cut(write_clip(tmp_path / f"a{suffix}", moving(34)), share))
    assert fault.kind == "cut_short"
    assert "is cut short: " in fault.text


@pytest.mark.parametrize("share", [0.5, 0.99])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
def test_a_picture_that_is_cut_is_told(tmp_path, name, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    assert fault_of(cut(tmp_path / name, share)).kind == "cut_short"


def test_an_index_at_the_front_does_not_hide_that_the_end_is_missing(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving(34), coding=f"{CODINGS['.mp4']} -movflags +faststart")
    whole = path.stat().st_size
    fault = fault_of(cut(path, 0.7))
    assert fault.text == f"is cut short: {path.stat().st_size:,} of {whole:,} bytes are there"
    assert fault.remedy == "Copy or download it again, or remove it"


def test_bytes_that_were_changed_on_the_way_are_told(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving(34), coding=f"{CODINGS['.mp4']} -crf 5 -movflags +faststart")
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(1).integers(len(data) // 2, len(data), 40):
        data[place] ^= 0x55
    path.write_bytes(data)
    assert fault_of(path).kind == "damaged"


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.png").touch()
    assert fault_of(tmp_path / "a.mp4").text == "is empty: 0 bytes"
    assert fault_of(tmp_path / "a.png").kind == "empty"


def test_sound_alone_is_no_video(tmp_path):
    ffmpeg("-f lavfi -i sine=d=1", tmp_path / "a.mp4")
    assert fault_of(tmp_path / "a.mp4").text == "holds no video, only audio"


@pytest.mark.parametrize("content", [b"hello, this is text\n" * 99, bytes(5000), b"#EXTM3U\n#EXTINF:1\nb.mp4\n"])
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.png"])
def test_what_is_no_video_and_no_picture_is_unreadable(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert fault_of(tmp_path / name).kind == "unreadable"


def test_a_list_of_files_by_the_name_of_a_video_leads_nowhere(tmp_path):
    write_clip(tmp_path / "b.mp4")
    (tmp_path / "a.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/b.mp4'\n")
    assert fault_of(tmp_path / "a.mp4").kind == "unreadable"


def test_a_picture_by_the_name_of_a_video_is_told_and_the_other_way_round(tmp_path):
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    write_clip(tmp_path / "b.mkv").rename(tmp_path / "b.jpg")
    picture, video = fault_of(tmp_path / "a.mp4"), fault_of(tmp_path / "b.jpg")
    assert (picture.kind, picture.text, picture.remedy) == (
        "mislabelled",
        "is a PNG picture, named .mp4",
        "Rename it to .png",
    )
    assert (video.kind, video.text) == ("mislabelled", "is a video, named .jpg")


@pytest.mark.parametrize(("stored", "named"), [("a.webm", "a.mp4"), ("a.avi", "a.mov"), ("a.mp4", "a.mkv")])
def test_another_kind_of_video_by_the_name_of_one_is_read_all_the_same(tmp_path, stored, named):
    write_clip(tmp_path / stored).rename(tmp_path / named)
    assert probe(tmp_path / named).num_frames == 17


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path, monkeypatch):
    write_clip(tmp_path / "a.mp4").rename(tmp_path / "http:b%03d.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe((tmp_path / "http:b%03d.mp4").relative_to(tmp_path)).num_frames == 17


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
@pytest.mark.parametrize("level", [0, 128])
def test_frames_of_one_colour_are_counted(tmp_path, suffix, level):
    frames = moving(17)
    frames[:5] = level
    found = probe(write_clip(tmp_path / f"a{suffix}", frames))
    assert found.num_blank == 5
    blank = probe(write_clip(tmp_path / f"b{suffix}", np.full_like(frames, level)))
    assert (blank.num_blank, blank.brightest) == (17, pytest.approx(level, abs=4))


@pytest.mark.parametrize("suffix", CODINGS)
def test_a_clip_that_stands_still_does_not_change(tmp_path, suffix):
    still = moving(1, width=320, height=180).repeat(17, axis=0)
    assert probe(write_clip(tmp_path / f"a{suffix}", still)).change <= 12


def test_a_small_thing_that_moves_in_a_large_clip_is_a_change(tmp_path):
    frames = np.full((9, 360, 640, 3), 90, np.uint8)
    for index, frame in enumerate(frames):
        frame[100:106, 20 * index : 20 * index + 6] = 220
    found = probe(write_clip(tmp_path / "a.mp4", frames))
    assert found.change > 12
    assert found.num_blank == 0


def test_transparency_is_seen_before_its_background(tmp_path):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[16:48, 16:48, 3] = 255  # a black square, cut out
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert probe(tmp_path / "a.png", "000000").num_blank == 1
    assert probe(tmp_path / "a.png", "ffffff").num_blank == 0


def test_a_webm_keeps_its_transparency(tmp_path):
    pixels = np.zeros((9, 64, 64, 4), np.uint8)
    for index, frame in enumerate(pixels):
        frame[16:48, 4 * index : 4 * index + 16, 3] = 255
    coding = "-c:v libvpx-vp9 -pix_fmt yuva420p -cpu-used 8"
    ffmpeg("-f rawvideo -pix_fmt rgba -s 64x64 -r 16 -i -", coding, tmp_path / "a.webm", data=pixels.tobytes())
    assert probe(tmp_path / "a.webm", "000000").num_blank == 9
    assert probe(tmp_path / "a.webm", "ffffff").change > 100


def test_a_background_that_is_no_colour_is_refused(tmp_path):
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"'pink' is no colour"):
        probe(tmp_path / "a.png", "pink")


def test_pixels_that_are_no_squares_are_told(tmp_path):
    path = write_clip(tmp_path / "a.mp4", coding=f"{CODINGS['.mp4']} -aspect 2")
    found = probe(path)
    assert (found.width, found.height, found.pixel_aspect) == (64, 64, 2)
    upright = probe(turned(path, tmp_path / "turned.mp4", "90"))
    assert (upright.width, upright.height, upright.pixel_aspect) == (64, 64, 0.5)


def test_a_video_that_changes_its_size_on_the_way_is_told(tmp_path):
    small, large = (
        write_clip(tmp_path / f"{size}.webm", moving(9, width=size), coding="-c:v libvpx") for size in (64, 96)
    )
    (tmp_path / "list.txt").write_text(f"file {small}\nfile {large}\n")
    ffmpeg("-f concat -safe 0 -i", tmp_path / "list.txt", "-c copy", tmp_path / "a.webm")
    assert fault_of(tmp_path / "a.webm").text == "changes its size on the way, 64x64 and 96x64"


def test_a_file_that_is_gone_or_may_not_be_read_is_told(tmp_path):
    assert fault_of(tmp_path / "gone.mp4").text == "cannot be read: No such file or directory"


def test_a_copy_by_another_name_is_the_same(tmp_path):
    path = write_clip(tmp_path / "a.avi")
    shutil.copy(path, tmp_path / "b.mkv")
    assert probe(path) == probe(tmp_path / "b.mkv")
