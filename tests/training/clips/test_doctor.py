"""The doctor: every fault of a folder of real files is named, bad files are left out by name, good ones are used."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_core.errors import DatasetError, TrainingError
from lora_core.families.base import DefaultClip
from lora_core.families.wan.spec import wan_spec
from lora_core.training.clips.diagnosis import bucket_notes
from lora_core.training.clips.doctor import diagnose, examine
from lora_core.training.clips.fault import KINDS
from lora_core.training.clips.report import as_json, table
from lora_core.training.settings.clips import ClipSettings

from .making import cut, ffmpeg, moving, write_clip, write_stamped

POCKET = wan_spec("wan-pocket")
ANY = ClipSettings(max_bad=1.0)


def caption(path, text="a cat"):
    path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path


def good_clip(folder, name="good.mp4", seed=0):
    return caption(write_clip(folder / name, moving(seed=seed)))


def found_in(folder, settings=ANY, spec=POCKET):
    return {finding.name: finding for finding in diagnose(folder, settings, spec).findings}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """Make a folder with a good clip of each kind and one file for each fault."""
    folder = tmp_path_factory.mktemp("hospital")
    good_clip(folder, "good.mp4", seed=1)
    good_clip(folder, "sub/Good.WEBM", seed=2)
    Image.fromarray(moving(1, seed=3)[0]).save(caption(folder / "picture.png"))
    caption(folder / "empty.mp4").touch()
    caption(folder / "text.mp4").write_text("this is no video\n" * 50)
    cut(good_clip(folder, "cut_short.mp4", seed=4), 0.7)
    data = bytearray(caption(write_clip(folder / "damaged.avi", moving(40, width=160, height=120))).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1500] = bytes(1500)
    (folder / "damaged.avi").write_bytes(data)
    ffmpeg("-f lavfi -i sine=d=1", caption(folder / "sound.mp4"))
    shutil.copy(folder / "picture.png", caption(folder / "mislabelled.mov"))
    small, large = (
        write_clip(folder / "parts" / f"{w}.webm", moving(9, width=w), coding="-c:v libvpx") for w in (64, 96)
    )
    (folder / "parts" / "list.txt").write_text(f"file {small}\nfile {large}\n")
    ffmpeg("-f concat -safe 0 -i", folder / "parts" / "list.txt", "-c copy", caption(folder / "changing.webm"))
    shutil.rmtree(folder / "parts")
    caption(write_clip(folder / "short.mp4", moving(12)))
    caption(write_clip(folder / "black.mp4", moving() * 0))
    caption(write_clip(folder / "grey.mp4", moving() * 0 + 128))
    caption(write_clip(folder / "frozen.mp4", moving(1, seed=5).repeat(17, axis=0)))
    faded = moving(20, seed=6)
    faded[:8] = 0
    caption(write_clip(folder / "faded.mp4", faded))
    caption(write_clip(folder / "tiny.mp4", moving(width=32, height=16)))
    caption(write_clip(folder / "slow.mp4", moving(8, seed=7), fps=4))
    times = [index / 16 + (index > 9) * 0.9 for index in range(20)]
    write_stamped(caption(folder / "gap.mp4"), moving(20, seed=8), times)
    shutil.copy(folder / "good.mp4", caption(folder / "twin.mp4"))
    write_clip(folder / "uncaptioned.mp4", moving(seed=10))
    caption(write_clip(folder / "blank_caption.mp4", moving(seed=11)), " \n")
    write_clip(folder / "windows.mp4", moving(seed=12)).with_suffix(".txt").write_bytes(b"caf\xe9")
    write_clip(folder / "no_text.mp4", moving(seed=13)).with_suffix(".txt").write_bytes(b"a\0b\0")
    good_clip(folder, "contradicted.mp4", seed=14)
    good_clip(folder, "both.mp4", seed=15)
    rows = [
        {"file": "contradicted.mp4", "text": "a dog"},
        {"file": "both.mp4", "split": "train"},
        {"file": "both.mp4", "split": "test"},
        {"file": "gone.mp4", "text": "x"},
        {"file": "sub/Good.WEBM", "split": "val"},
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


#: File -> the kind of its fault, and whether it is used all the same.
EXPECTED = {
    "empty.mp4": ("empty", False),
    "text.mp4": ("unreadable", False),
    "cut_short.mp4": ("cut_short", False),
    "damaged.avi": ("damaged", False),
    "sound.mp4": ("no_video", False),
    "mislabelled.mov": ("mislabelled", False),
    "changing.webm": ("changing_size", False),
    "short.mp4": ("too_short", False),
    "black.mp4": ("black", False),
    "grey.mp4": ("one_colour", False),
    "frozen.mp4": ("frozen", False),
    "faded.mp4": ("partly_blank", True),
    "tiny.mp4": ("enlarged", False),
    "slow.mp4": ("unusual_speed", True),
    "gap.mp4": ("unusual_speed", True),
    "twin.mp4": ("duplicate", False),
    "uncaptioned.mp4": ("no_caption", False),
    "blank_caption.mp4": ("empty_caption", False),
    "windows.mp4": ("not_utf8", True),
    "no_text.mp4": ("unreadable_caption", False),
    "contradicted.mp4": ("two_captions", False),
    "both.mp4": ("two_splits", False),
    "gone.mp4": ("missing", False),
}
GOOD = ("good.mp4", "picture.png", "sub/Good.WEBM")


@pytest.fixture(scope="module")
def diagnosis(hospital):
    return diagnose(hospital, ANY, POCKET)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_fault_is_named_and_decides_whether_the_file_is_used(diagnosis, name):
    finding = next(finding for finding in diagnosis.findings if finding.name == name)
    assert (finding.kinds, finding.use) == ((EXPECTED[name][0],), EXPECTED[name][1]), finding.problem
    assert finding.problem
    assert finding.remedy
    assert (finding.clip is not None) == finding.use


def test_every_kind_of_fault_is_told_of_in_the_documentation():
    text = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


def test_every_kind_of_fault_is_tried_here():
    assert {kind for kind, _ in EXPECTED.values()} | {"caption_given", "picture"} == set(KINDS)


def test_what_has_no_fault_is_used_and_nothing_is_missing_from_the_findings(hospital, diagnosis):
    named = {finding.name: finding for finding in diagnosis.findings}
    assert set(named) == {*EXPECTED, *GOOD}
    for name in GOOD:
        finding = named[name]
        assert (finding.use, finding.problem, finding.remedy) == (True, "", "")
        assert finding.clip.path == hospital / name
        assert finding.clip.captions == ("a cat",)
    assert [named[name].clip.held_out for name in GOOD] == [None, None, True]


def test_the_table_names_every_file_and_says_what_to_do(diagnosis):
    text = table(diagnosis, {"good.mp4": "64x64, 17 frames"})
    for name in (*EXPECTED, *GOOD):
        assert f"  {name}" in text
    assert "out  short.mp4" in text
    assert "is too short: 0.75 s make 12 frames at 16 fps, 17 are needed" in text
    assert "\n  Take a longer clip, or lower min_frames: short.mp4\n" in text
    assert "\n  Copy or download it again, or remove it: cut_short.mp4, damaged.avi, empty.mp4\n" in text
    assert "is the same file as good.mp4" in text
    assert "64x64, 17 frames" in text
    assert "7 of 26 files are used" in text
    assert "19 are left out" in text
    remedies = {finding.remedy for finding in diagnosis.findings if finding.problem}
    assert len(text.splitlines()) == 1 + len(diagnosis.findings) + 1 + len(remedies) + 2


def test_a_table_of_problems_leaves_good_files_out(diagnosis):
    assert "picture.png" not in table(diagnosis, only_problems=True)
    assert "twin.mp4" in table(diagnosis, only_problems=True)


def test_the_report_is_plain_json(diagnosis):
    report = json.loads(json.dumps(as_json(diagnosis, {"good.mp4": "64x64, 17 frames"})))
    files = {file["file"]: file for file in report["files"]}
    assert files["good.mp4"] == {
        "file": "good.mp4",
        "use": True,
        "problem": None,
        "remedy": None,
        "kinds": [],
        "caption": "a cat",
        "captions": ["a cat"],
        "frames": 17,
        "fps": 16.0,
        "seconds": 1.0625,
        "size": [64, 64],
        "bucket": "64x64, 17 frames",
        "held_out": None,
        "sha256": files["twin.mp4"]["sha256"],
    }
    assert (files["short.mp4"]["frames"], files["short.mp4"]["bucket"]) == (12, None)
    assert files["empty.mp4"]["size"] is None
    assert (report["totals"]["files"], report["totals"]["used"], report["totals"]["pictures"]) == (26, 7, 1)
    assert report["totals"]["problems"]["unusual_speed"] == 2
    assert report["settings"]["target_fps"] == 16


# ---------------------------------------------------------------- whether a run may start


def test_a_folder_of_good_clips_is_examined_without_a_word(tmp_path):
    good_clip(tmp_path)
    seen = []
    diagnosis = examine(tmp_path, ClipSettings(min_clips=1), POCKET, lambda *note: seen.append(note))
    assert [clip.name for clip in diagnosis.clips] == ["good.mp4"]
    assert seen == [(1, 1, "clips examined")]


def test_more_than_the_chosen_share_of_bad_files_stops_the_run(tmp_path):
    good_clip(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
        caption(tmp_path / name)
    message = (
        r"2 of its 3 files are left out: a\.mp4 is empty: 0 bytes; b\.mp4 is empty: 0 bytes \(at most 50%\)\. "
        r"Mend them as the report says, or raise max_bad\."
    )
    with pytest.raises(DatasetError, match=message):
        examine(tmp_path, ClipSettings(), POCKET)
    assert len(examine(tmp_path, ClipSettings(max_bad=0.7, min_clips=1), POCKET).clips) == 1
    assert len(diagnose(tmp_path, ClipSettings(), POCKET).clips) == 1


def test_a_folder_where_all_is_bad_is_refused_whatever_share_is_allowed(tmp_path):
    caption(tmp_path / "a.mp4").touch()
    with pytest.raises(DatasetError, match=r"its only file cannot be used: a\.mp4 is empty: 0 bytes"):
        examine(tmp_path, ANY, POCKET)


def test_a_folder_without_clips_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"is empty \(files ending in \.mp4"):
        examine(tmp_path, ANY, POCKET)


def test_a_listener_can_cancel(tmp_path):
    good_clip(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        examine(tmp_path, ANY, POCKET, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))


# ---------------------------------------------------------------- captions from the settings


def test_a_clip_without_caption_is_used_where_the_settings_have_one(tmp_path):
    write_clip(tmp_path / "a.mp4")
    caption(write_clip(tmp_path / "b.mp4", moving(seed=1)), "")
    assert not found_in(tmp_path)["a.mp4"].use
    found = found_in(tmp_path, replace(ANY, default_caption="a thing"))
    assert [finding.clip.captions for finding in found.values()] == [("a thing",), ("a thing",)]
    assert found["a.mp4"].problem == "has no caption, default_caption is taken"
    assert found["b.mp4"].problem == "its caption in b.txt is empty, default_caption is taken"
    trigger = replace(ANY, trigger="ohwx", caption_from_trigger=True)
    assert found_in(tmp_path, trigger)["a.mp4"].clip.captions == ("",)
    assert found_in(tmp_path, trigger)["a.mp4"].problem == "has no caption, the trigger alone is taken"


def test_a_trigger_alone_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="caption_from_trigger: there is no trigger"):
        examine(tmp_path, ClipSettings(caption_from_trigger=True), POCKET)


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("num_frames", "fps", "settings", "use"),
    [
        (17, 16, {}, True),
        (16, 16, {}, False),
        (25, 24, {}, True),
        (24, 24, {}, False),
        (51, 50, {}, True),
        (32, 30, {}, True),
        (9, 16, {"min_frames": 9}, True),
        (8, 16, {"min_frames": 9}, False),
        (16, 16, {"num_frames": 13}, True),
        (9, 8, {"fps": 16.0}, True),
        (9, 8, {"fps": 8.0}, False),
    ],
)
def test_a_clip_is_long_enough_at_the_rate_it_is_resampled_to(tmp_path, num_frames, fps, settings, use):
    caption(write_clip(tmp_path / "a.mp4", moving(num_frames), fps=fps))
    assert found_in(tmp_path, replace(ANY, **settings))["a.mp4"].use == use


def test_a_picture_is_never_too_short(tmp_path):
    Image.fromarray(moving(1)[0]).save(caption(tmp_path / "a.png"))
    assert found_in(tmp_path)["a.png"].use


def test_image_models_are_not_trained_on_pictures_and_it_is_said(tmp_path):
    Image.fromarray(moving(1)[0]).save(caption(tmp_path / "a.png"))
    caption(write_clip(tmp_path / "b.mp4"))
    found = found_in(tmp_path, spec=replace(POCKET, image_conditioned=True, title="Some I2V"))
    assert found["a.png"].problem == "is a picture, of which Some I2V is told all there is to learn"
    assert [finding.use for finding in found.values()] == [False, True]


@pytest.mark.parametrize(("settings", "use"), [({}, True), ({"max_upscale": 1.5}, False), ({"resolution": 96}, False)])
def test_how_much_a_clip_is_enlarged_is_told_of_its_area(tmp_path, settings, use):
    caption(write_clip(tmp_path / "a.mp4", moving(width=48, height=24)))
    assert found_in(tmp_path, replace(ANY, **settings))["a.mp4"].use == use


def test_the_size_and_rate_wanted_are_those_of_the_model(tmp_path):
    caption(write_clip(tmp_path / "a.mp4"))
    spec = replace(POCKET, default_clip=DefaultClip(121, 704, 1280, 24.0))
    found = found_in(tmp_path, spec=spec)["a.mp4"]
    assert found.kinds == ("too_short", "enlarged")
    assert found.problem == (
        "is too short: 1.06 s make 25 frames at 24 fps, 121 are needed; "
        "would be enlarged 15.0 times from 64x64, at most 2"
    )


def test_the_first_of_two_like_files_that_can_be_used_is_the_one_that_is(tmp_path):
    write_clip(tmp_path / "a.mp4")  # without a caption
    for name in ("b.mp4", "c.mp4"):
        shutil.copy(tmp_path / "a.mp4", tmp_path / name)
    caption(tmp_path / "b.mp4", "one")
    caption(tmp_path / "c.mp4", "another")
    found = found_in(tmp_path)
    assert [finding.use for finding in found.values()] == [False, True, False]
    assert found["c.mp4"].problem == "is the same file as b.mp4, with another caption"


def test_several_faults_of_a_file_are_all_named(tmp_path):
    write_clip(tmp_path / "a.mp4", np.zeros((5, 16, 16, 3), np.uint8))
    assert found_in(tmp_path)["a.mp4"].kinds == ("too_short", "black", "enlarged", "no_caption")


# ---------------------------------------------------------------- buckets


def test_buckets_that_are_empty_or_fill_no_batch_are_named():
    buckets = {"64x64": ["a", "b"], "96x48": ["c"], "48x96": []}
    assert bucket_notes(buckets) == ()
    assert bucket_notes(buckets, 2) == ("the bucket 96x48 has 1 clip for batches of 2: c",)
    assert bucket_notes(buckets, wanted=["64x64", "48x96", "32x32"]) == (
        "the bucket 48x96 is empty: no clip is nearest to it",
        "the bucket 32x32 is empty: no clip is nearest to it",
    )
