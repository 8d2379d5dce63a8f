"""The conversion of clips to the trainer's own layout: what was said of them is said still, and nothing gets lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from filmed import film, moving

from lora_core.errors import LoraCoreError
from lora_core.training.clips.captions import read_captions
from lora_core.training.clips.convert import convert_clips
from lora_core.training.clips.layout import read_layout

ROWS = [
    {"video": "a.mp4", "prompt": "a red circle"},
    {"video": "more/b.mp4", "prompt": ["a blue circle", "it is blue"], "split": "val"},
    {"video": "more/captions.mp4", "prompt": "two\nlines of one", "split": "train"},
]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    for row in ROWS:
        film(folder / str(row["video"]), moving(5))
    return folder


def said_of(folder: Path) -> dict[str, tuple[tuple[str, ...], bool | None]]:
    """Return what a training reads of the clips in a folder."""
    found = read_captions(read_layout(folder))
    assert found.strays == ()
    assert [fault for captioned in found.of.values() for fault in captioned.faults] == []
    return {name: (captioned.captions, captioned.held_out) for name, captioned in found.of.items()}


WANTED = {
    "a.mp4": (("a red circle",), None),
    "more/b.mp4": (("a blue circle", "it is blue"), True),
    "more/captions.mp4": (("two lines of one",), False),
}


def test_a_list_of_videos_and_prompts_becomes_clips_with_texts_beside_them(clips: Path, tmp_path: Path) -> None:
    (clips / "videos.json").write_text(json.dumps(ROWS))
    converted = convert_clips(clips / "videos.json", tmp_path / "new")
    assert (converted.num_clips, converted.num_held_out) == (3, 1)
    assert said_of(tmp_path / "new") == WANTED
    assert (tmp_path / "new" / "a.mp4").read_bytes() == (clips / "a.mp4").read_bytes()


def with_jsonl(clips: Path) -> None:
    (clips / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def with_csv(clips: Path) -> None:
    flat = [{"split": "", **row, "prompt": text} for row in ROWS for text in texts_of(row)]
    with (clips / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("video", "prompt", "split"))
        writer.writeheader()
        writer.writerows(flat)


def with_texts_beside(clips: Path) -> None:
    for row in ROWS:
        lines = (" ".join(text.split()) for text in texts_of(row))
        (clips / f"{row['video']}.txt").write_text("\n".join(lines))
    splits = [{"file": row["video"], "split": row["split"]} for row in ROWS if "split" in row]
    (clips / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in splits))


def texts_of(row: dict[str, object]) -> list[str]:
    prompt = row["prompt"]
    return prompt if isinstance(prompt, list) else [str(prompt)]


@pytest.mark.parametrize("lay_out", [with_jsonl, with_csv, with_texts_beside])
def test_any_layout_that_a_training_reads_is_converted_without_a_word_lost(
    lay_out, clips: Path, tmp_path: Path
) -> None:
    lay_out(clips)
    convert_clips(clips, tmp_path / "new")
    assert said_of(tmp_path / "new") == WANTED


def test_a_conversion_of_a_conversion_changes_nothing(clips: Path, tmp_path: Path) -> None:
    with_jsonl(clips)
    convert_clips(clips, tmp_path / "new")
    convert_clips(tmp_path / "new", tmp_path / "again")
    first, second = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (tmp_path / "new", tmp_path / "again")
    )
    assert first == second


def test_clips_that_share_a_stem_keep_captions_of_their_own(clips: Path, tmp_path: Path) -> None:
    film(clips / "a.mkv", moving(5, seed=1), codec="ffv1", pixels="bgr0")
    rows = [{"file": "a.mp4", "text": "one"}, {"file": "a.mkv", "text": "other"}]
    (clips / "rows.json").write_text(json.dumps(rows))
    convert_clips(clips / "rows.json", tmp_path / "new")
    assert said_of(tmp_path / "new") == {"a.mkv": (("other",), None), "a.mp4": (("one",), None)}


def test_a_file_elsewhere_goes_by_its_name(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    rows = [{"video": "../clips/a.mp4", "prompt": "one"}, {"video": str(clips / "more" / "b.mp4"), "prompt": "two"}]
    (tmp_path / "lists" / "rows.json").write_text(json.dumps(rows))
    convert_clips(tmp_path / "lists" / "rows.json", tmp_path / "new")
    assert said_of(tmp_path / "new") == {"a.mp4": (("one",), None), "b.mp4": (("two",), None)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[{"prompt": "a"}]',
            "rows.json item 1: names no file (its name under 'file' or 'file_name' or 'video'). Name",
        ),
        (
            '[{"video": "gone.mp4", "prompt": "a"}]',
            "1 fault: rows.json item 1 names 'gone.mp4', and there is no such file",
        ),
        ('[{"video": "rows.json", "prompt": "a"}]', "names 'rows.json', which ends in none of .mp4"),
        ('[{"video": "a.mp4"}]', "1 fault: a.mp4: no caption (every clip with its file and a caption)."),
        ('[{"video": "a.mp4", "prompt": " "}]', "a.mp4: no caption"),
        ('[{"video": "a.mp4", "prompt": 5}]', "item 1: the caption is 5 (a text, or a list of texts). Write a text."),
        ('[{"video": "a.mp4", "prompt": "a", "text": "b"}]', "has 'text' and 'prompt', which say different things"),
        ("[]", "rows.json: holds no list of clips"),
        ('{"video": "a.mp4"}', "rows.json: holds no list of clips"),
        ('["a.mp4"]', "rows.json item 1: \"'a.mp4'\" is no object"),
        ("[{", "rows.json: not JSON"),
        (
            '[{"video": "a.mp4", "prompt": "a", "split": "val"}, {"video": "a.mp4", "prompt": "b", "split": "train"}]',
            "a.mp4: rows.json item 1 has it in both splits",
        ),
        (
            '[{"video": "a.mp4", "prompt": "a"}, {"video": "../a.mp4", "prompt": "b"}]',
            "several clips would be called a.mp4 (names of their own). Rename one of them.",
        ),
    ],
)
def test_a_bad_row_is_one_clear_error_and_nothing_is_written(
    text: str, message: str, clips: Path, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", moving(5))
    (clips / "rows.json").write_text(text)
    with pytest.raises(LoraCoreError) as raised:
        convert_clips(clips / "rows.json", tmp_path / "new")
    assert message in str(raised.value)
    assert not (tmp_path / "new").exists()


def test_what_is_in_the_way_or_inside_is_refused(clips: Path, tmp_path: Path) -> None:
    with_jsonl(clips)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    cases = {
        tmp_path / "full": "full: is not empty (a new folder, or an empty one). Choose another.",
        tmp_path / "full" / "mine.txt": "mine.txt: is a file",
        clips / "new": "new: lies inside the folder that is converted (a folder beside it). Choose another.",
    }
    for place, message in cases.items():
        with pytest.raises(LoraCoreError) as raised:
            convert_clips(clips, place)
        assert message in str(raised.value)
    for source, message in ((clips / "a.mp4", "is no list of clips"), (tmp_path / "gone", "no such file or folder")):
        with pytest.raises(LoraCoreError, match=message):
            convert_clips(source, tmp_path / "new")
    (tmp_path / "empty").mkdir()
    assert convert_clips(clips, tmp_path / "empty").num_clips == 3


def test_a_clip_of_a_folder_that_nothing_is_said_of_is_named(clips: Path, tmp_path: Path) -> None:
    (clips / "a.txt").write_text("a red circle")
    with pytest.raises(LoraCoreError) as raised:
        convert_clips(clips, tmp_path / "new")
    assert "2 faults: more/b.mp4: has no caption: no b.txt" in str(raised.value)
