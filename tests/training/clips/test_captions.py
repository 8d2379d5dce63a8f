"""Captions: every way to write them down reads to the same, and what cannot be understood is said."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_core.errors import DatasetError
from lora_core.training.clips.captions import full_caption, read_captions
from lora_core.training.clips.layout import read_layout

CLIPS = ("a.mp4", "b.png", "sub/c 1.webm")
SAID = {"a.mp4": ("a red cat",), "b.png": ("a dog, green",), "sub/c 1.webm": ('say "oh" | so',)}


def captions_of(folder, files=(), clips=CLIPS):
    """Lay out clips, empty ones, with text files, and read what is said of them."""
    for name in clips:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, text in dict(files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_captions(read_layout(folder))


def words_of(captions):
    return {name: captioned.captions for name, captioned in captions.of.items()}


def kinds_of(captions, name):
    return [fault.kind for fault in captions.of[name].faults]


def jsonl(*rows):
    return "\n".join(map(json.dumps, rows))


WAYS = {
    "beside": {"a.txt": "a red cat\n", "b.txt": "a dog, green", "sub/c 1.txt": ' say "oh" | so \n\n'},
    "beside, the whole name": {"a.mp4.txt": "a red cat", "B.TXT": "a dog, green", "sub/C 1.webm.txt": 'say "oh" | so'},
    "captions.txt with |": {"captions.txt": 'a.mp4 | a red cat\n\nb.png|a dog, green\nsub/c 1.webm | say "oh" | so\n'},
    "captions.txt with tabs": {"captions.txt": 'a\ta red cat\r\nB.PNG\ta dog, green\r\n.\\sub\\c 1\tsay "oh" | so'},
    "captions.txt in order": {"captions.txt": 'a red cat\na dog, green\nsay "oh" | so\n\n'},
    "metadata.jsonl": {
        "metadata.jsonl": jsonl(
            {"file": "a.mp4", "caption": "a red cat"},
            {"file_name": "b.png", "text": "a dog, green"},
            {"video": "sub/c 1.webm", "prompt": ['say "oh" | so']},
        )
    },
    "metadata.csv": {
        "metadata.csv": 'file_name,text\na.mp4,a red cat\nb.png,"a dog, green"\nsub/c 1.webm,"say ""oh"" | so"\n'
    },
    "metadata.csv of a German Excel": {
        "metadata.csv": "\ufeff"
        + 'File;Caption\r\na.mp4;a red cat\r\nb.png;a dog, green\r\nsub/c 1.webm;"say ""oh"" | so"\r\n'
    },
    "mixed": {
        "a.txt": "a red cat",
        "sub/metadata.jsonl": jsonl({"file": "c 1.webm", "text": 'say "oh" | so'}),
        "captions.txt": "b.png | a dog, green",
    },
    "UTF-16": {"captions.txt": 'a.mp4 | a red cat\nb | a dog, green\nsub/c 1 | say "oh" | so'.encode("utf-16")},
}


@pytest.mark.parametrize("files", WAYS.values(), ids=WAYS)
def test_every_way_to_write_captions_down_reads_to_the_same(tmp_path, files):
    captions = captions_of(tmp_path, files)
    assert words_of(captions) == SAID
    assert not any(captioned.faults for captioned in captions.of.values())
    assert (captions.strays, captions.notes) == ((), ())


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": "one\n\ntwo\none\n"},
        {"captions.txt": "a | one\na.mp4 | two"},
        {"metadata.jsonl": jsonl({"file": "a.mp4", "text": ["one", "two"]})},
        {"metadata.csv": "file,text\na.mp4,one\na.mp4,two"},
    ],
)
def test_a_clip_may_have_several_captions(tmp_path, files):
    assert captions_of(tmp_path, files).of["a.mp4"].captions == ("one", "two")


def test_a_split_says_which_clips_are_held_out(tmp_path):
    rows = [
        {"file": "a.mp4", "split": "Train"},
        {"file": "b.png", "split": "held-out"},
        {"file": "sub/c 1.webm", "split": None},
    ]
    captions = captions_of(tmp_path, {"metadata.jsonl": jsonl(*rows), "a.txt": "a cat"})
    assert [captions.of[name].held_out for name in CLIPS] == [False, True, None]
    assert captions.of["a.mp4"].captions == ("a cat",)
    assert kinds_of(captions, "b.png") == ["no_caption"]


def test_a_clip_without_caption_and_one_with_an_empty_one_are_told_apart(tmp_path):
    captions = captions_of(tmp_path, {"a.txt": " \n\n", "metadata.jsonl": jsonl({"file": "b.png", "text": ""})})
    texts = [captions.of[name].faults[0].text for name in CLIPS]
    assert texts[0] == "its caption in a.txt is empty"
    assert texts[1] == "its caption in metadata.jsonl is empty"
    assert texts[2] == "has no caption: no c 1.txt, no row of a list"


def test_captions_of_windows_are_recovered_and_said(tmp_path):
    listed = "a | café, 5 €\nb | plain".encode("cp1252")
    captions = captions_of(tmp_path, {"captions.txt": listed, "sub/c 1.txt": "naïve".encode("cp1252")})
    assert captions.of["a.mp4"].captions == ("café, 5 €",)
    assert captions.of["sub/c 1.webm"].captions == ("naïve",)
    assert captions.of["a.mp4"].faults[0].text == "its caption in captions.txt is no UTF-8, read as Windows-1252"
    assert not captions.of["a.mp4"].faults[0].leaves_out
    assert kinds_of(captions, "b.png") == []
    assert captions.notes == ("captions.txt: is no UTF-8, read as Windows-1252",)


@pytest.mark.parametrize("content", [b"a\0b\0", b"\x81\x8d \xff", b"\xff\xfea"])
def test_a_caption_that_is_no_text_is_told(tmp_path, content):
    captions = captions_of(tmp_path, {"a.txt": content})
    assert kinds_of(captions, "a.mp4") == ["unreadable_caption"]
    assert captions.of["a.mp4"].faults[0].text.startswith("its caption a.txt is no text: ")


def test_a_file_that_was_taken_for_a_caption_by_mistake_is_told(tmp_path):
    fault = captions_of(tmp_path, {"a.txt": "word " * 9999}).of["a.mp4"].faults[0]
    assert (fault.kind, fault.text) == ("unreadable_caption", "its caption is 49,994 letters long")


def test_two_files_that_say_different_things_of_a_clip_are_told(tmp_path):
    captions = captions_of(tmp_path, {"a.txt": "a cat", "captions.txt": "a | a dog\nb | same", "b.txt": "same"})
    assert captions.of["a.mp4"].faults[0].text == "captions.txt, a.txt caption it differently"
    assert kinds_of(captions, "b.png") == []


def test_a_clip_in_both_splits_is_told(tmp_path):
    rows = [{"file": "a.mp4", "text": "x", "split": split} for split in ("train", "val")]
    assert kinds_of(captions_of(tmp_path, {"metadata.jsonl": jsonl(*rows)}), "a.mp4") == ["two_splits"]


def test_rows_that_name_no_clip_are_told_each_with_its_line(tmp_path):
    rows = [{"file": name, "text": "x"} for name in ("a.mp4", "gone.mp4", "../out.mp4", "notes.pdf", "b")]
    files = {"metadata.jsonl": jsonl(*rows), "notes.pdf": "", "b.webp": ""}
    captions = captions_of(tmp_path, {**files, "../out.mp4": ""})
    assert [(stray.name, stray.problem) for stray in captions.strays] == [
        ("gone.mp4", "metadata.jsonl line 2 names it, but there is no such file"),
        ("../out.mp4", "metadata.jsonl line 3 names it, but it is none of the clips below the list"),
        ("notes.pdf", "metadata.jsonl line 4 names it, but it is no video or picture"),
        ("b", "metadata.jsonl line 5 may mean b.png, b.webp"),
    ]
    assert all(not stray.use and stray.remedy and stray.clip is None for stray in captions.strays)


def test_texts_beside_no_clip_and_columns_without_use_are_noted(tmp_path):
    captions = captions_of(tmp_path, {"readme.txt": "hello", "metadata.csv": "file,text,width\na.mp4,x,64"})
    assert captions.notes == ("metadata.csv: not used: width", "beside no clip, and so no caption: readme.txt")


def test_lines_in_the_order_of_names_say_which_order_where_it_is_no_matter_of_course(tmp_path):
    clips = ("c1.mp4", "c2.mp4", "c10.mp4")
    captions = captions_of(tmp_path, {"captions.txt": "one\ntwo\nten"}, clips)
    assert words_of(captions) == {"c1.mp4": ("one",), "c2.mp4": ("two",), "c10.mp4": ("ten",)}
    assert captions.notes == (
        "captions.txt: its lines are taken in the order c1.mp4, c2.mp4, c10.mp4, numbers by their value",
    )


def test_an_empty_line_among_captions_in_order_is_an_empty_caption(tmp_path):
    captions = captions_of(tmp_path, {"captions.txt": "one\n\nthree\n"})
    assert kinds_of(captions, "b.png") == ["empty_caption"]
    assert captions.of["sub/c 1.webm"].captions == ("three",)


ERRORS = {
    "too few lines": (
        {"captions.txt": "one\ntwo"},
        "captions.txt: its lines are 2, and the clips 3 (one line for each clip in the order of their names, or "
        "`name | caption`). Name the clip in each line.",
    ),
    "too many lines": ({"captions.txt": "1\n2\n3\n4"}, "captions.txt: its lines are 4, and the clips 3"),
    "a line without a name": (
        {"captions.txt": "a.mp4 | one\ntwo"},
        "captions.txt line 2: 'two' names no clip, other lines do (`name | caption`). Name its clip.",
    ),
    "no JSON": ({"metadata.jsonl": '{"file": "a.mp4"}\n{oops'}, "metadata.jsonl line 2: not JSON: "),
    "no object": ({"metadata.jsonl": "[1]"}, "metadata.jsonl line 1: '[1]' is no object"),
    "no file": (
        {"metadata.jsonl": jsonl({"text": "x"})},
        "metadata.jsonl line 1: names no file (its name under 'file'",
    ),
    "two names": (
        {"metadata.jsonl": jsonl({"file": "a.mp4", "video": "b.png"})},
        "metadata.jsonl line 1: has 'file' and 'video', which say different things. Keep one of them.",
    ),
    "a number": ({"metadata.jsonl": jsonl({"file": "a.mp4", "text": 5})}, "metadata.jsonl line 1: the caption is 5 "),
    "an unknown split": (
        {"metadata.csv": "file,split\na.mp4,vall"},
        "metadata.csv line 2 split: unknown value 'vall' (nearest: 'val').",
    ),
    "no header": (
        {"metadata.csv": "a.mp4,one\n"},
        "metadata.csv: begins with 'a.mp4,one' (a first line of column names",
    ),
    "an empty table": ({"metadata.csv": ""}, "metadata.csv: begins with ''"),
    "a bare comma": (
        {"metadata.csv": "file,text\na.mp4,a cat, red"},
        "metadata.csv line 2: has 3 columns (2, with ',' between them). Put captions that hold one in quotation marks.",
    ),
    "an open quotation": ({"metadata.csv": 'file,text\na.mp4,"a cat'}, "metadata.csv: is no table: "),
    "a list that is no text": ({"captions.txt": b"\0\0"}, "captions.txt: is no text: it holds zero bytes (UTF-8)."),
}


@pytest.mark.parametrize(("files", "message"), ERRORS.values(), ids=ERRORS)
def test_a_list_that_cannot_be_understood_is_one_clear_error(tmp_path, files, message):
    with pytest.raises(DatasetError) as caught:
        captions_of(tmp_path, files)
    assert str(caught.value).startswith(message)


def test_names_that_were_all_misspelt_are_not_taken_for_captions(tmp_path):
    captions = captions_of(tmp_path, {"captions.txt": "x | one\ny | two\nz | three"})
    assert [stray.name for stray in captions.strays] == ["x", "y", "z"]
    assert words_of(captions) == dict.fromkeys(CLIPS, ())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool),
        min_size=1,
        unique=True,
    )
)
def test_whatever_is_written_into_metadata_comes_back(tmp_path, texts):
    said = captions_of(tmp_path, {"metadata.jsonl": jsonl({"file": "a.mp4", "text": texts})})
    assert said.of["a.mp4"].captions == tuple(texts)


@pytest.mark.parametrize(
    ("trigger", "caption", "full"),
    [
        ("", "a cat", "a cat"),
        ("ohwx", "a cat", "ohwx a cat"),
        ("ohwx", "", "ohwx"),
        ("ohwx", "Ohwx cat", "Ohwx cat"),
        ("ohwx", "ohwx", "ohwx"),
        ("ohwx", "ohwxy cat", "ohwx ohwxy cat"),
        ("ohwx", "a cat, ohwx", "ohwx a cat, ohwx"),
        ("ohwx style,", "a cat", "ohwx style, a cat"),
    ],
)
def test_the_trigger_comes_in_front_and_is_not_doubled(trigger, caption, full):
    assert full_caption(trigger, caption) == full
    assert full_caption(trigger, full) == full
