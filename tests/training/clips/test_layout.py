"""The layout of a clips folder: what counts as a clip, and that nothing else is passed over in silence."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import DatasetError
from lora_core.training.clips.layout import NO_CLIPS, natural, read_layout


def folder_of(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    return path


def test_videos_and_pictures_are_found_in_any_case_and_any_sub_folder(tmp_path):
    names = (
        "a.mp4",
        "B.MOV",
        "c.Mkv",
        "d.webm",
        "e.gif",
        "f.AVI",
        "g.png",
        "h.JPG",
        "i.jpeg",
        "j.webp",
        "sub/deep/k.bmp",
    )
    assert read_layout(folder_of(tmp_path, *names)).clips == names


def test_clips_are_in_the_order_of_their_names_and_numbers(tmp_path):
    assert read_layout(folder_of(tmp_path, "c10.mp4", "c9.mp4", "C1.mp4", "b/c2.mp4")).clips == (
        "b/c2.mp4",
        "C1.mp4",
        "c9.mp4",
        "c10.mp4",
    )


@given(st.lists(st.text(max_size=6)))
def test_names_of_any_letters_and_numbers_can_be_sorted(names):
    in_order = sorted(names, key=natural)
    assert sorted(in_order, key=natural) == in_order


def test_what_is_no_clip_is_counted_with_its_reason(tmp_path):
    names = ("a.mp4", "a.txt", "notes.pdf", ".DS_Store", "._a.mp4", ".cache/b.mp4", f"run/{NO_CLIPS}", "run/c.mp4")
    layout = read_layout(folder_of(tmp_path, *names, "captions.txt", "sub/Metadata.JSONL"))
    assert layout.clips == ("a.mp4",)
    assert layout.texts == ("a.txt",)
    assert layout.lists == ("captions.txt", "sub/Metadata.JSONL")
    assert layout.ignored == {
        "hidden": ("._a.mp4", ".cache/", ".DS_Store"),
        "of another kind": ("notes.pdf",),
        "marked with .no_clips": ("run/",),
    }


def test_folders_that_links_lead_to_are_entered_once(tmp_path):
    clips = folder_of(tmp_path / "clips", "a.mp4")
    other = folder_of(tmp_path / "other", "b.mp4")
    (clips / "link").symlink_to(other)
    (other / "back").symlink_to(clips)
    assert read_layout(clips).clips == ("a.mp4", "link/b.mp4")


def test_a_name_in_no_utf8_is_told_in_letters_that_can_be_printed(tmp_path):
    folder_of(tmp_path, "a.mp4")
    try:
        with open(os.fsencode(tmp_path) + b"/b\xff.mp4", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert read_layout(tmp_path).ignored == {"named in no UTF-8": ("b\\udcff.mp4",)}


def test_a_folder_that_is_missing_a_file_or_without_clips_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"gone: there is no such folder \(a folder of clips\)\. Check the path\."):
        read_layout(tmp_path / "gone")
    with pytest.raises(DatasetError, match=r"empty: is empty \(files ending in \.mp4 .* \.bmp\)"):
        read_layout(tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"other: holds no clips, only 2 \.pdf, 1 \.txt"):
        read_layout(folder_of(tmp_path / "other", "a.pdf", "b.pdf", "c.txt"))
    with pytest.raises(DatasetError, match=r"a\.pdf: is a file"):
        read_layout(tmp_path / "other" / "a.pdf")
