"""Instructions are found by name, file or text, suit the video model, and tell what has to stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_core.errors import RequestError
from lora_core.families.registry import spec_named
from lora_core.refiner.instructions import find_instructions, instruction_names, instructions_for


@pytest.mark.parametrize("name", instruction_names())
def test_our_own_say_in_which_language_to_answer_and_what_not_to_add(name: str) -> None:
    told = find_instructions(name)
    assert told.name == name
    assert told.languages[0] == "en"
    assert "languages:" not in told.text
    assert "given back as it is" in told.text
    assert "letter by letter" in " ".join(told.text.split())


@pytest.mark.parametrize(
    ("model", "has_picture", "name"),
    [
        ("wan2.2-t2v-a14b", False, "wan-t2v"),
        ("wan2.2-ti2v-5b", False, "wan-t2v"),
        ("wan2.2-ti2v-5b", True, "wan-i2v"),
        ("wan2.2-i2v-a14b", False, "wan-i2v"),
        ("cosmos-predict2-2b-video2world", True, "cosmos"),
        ("hunyuan-video", False, "hunyuan"),
        ("pocket", False, "pocket"),
        ("pocket-i2v", True, "pocket"),
        ("pocket-cosmos", True, "pocket"),
    ],
)
def test_they_suit_the_video_model(model: str, has_picture: bool, name: str) -> None:
    assert instructions_for(spec_named(model), has_picture=has_picture) == name


def test_a_file_or_a_text_may_stand_for_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("languages: de, fr\n\nSchreibe mehr.\n", encoding="utf-8")
    told = find_instructions(str(file))
    assert (told.name, told.text, told.languages) == ("mine.txt", "Schreibe mehr.", ("de", "fr"))
    assert (told.language_for("fr"), told.language_for("en")) == ("fr", "de")
    assert find_instructions("Write more.").text == "Write more."
    assert find_instructions("Write more.").language_for("en") == ""
    assert find_instructions("").language_for("en") == "en"


def test_words_that_have_to_stay_stand_below_them() -> None:
    assert find_instructions("Write more.").keeping(("zibbo", "3")).endswith("as often as you need it: zibbo, 3")
    assert find_instructions("").keeping(("zibbo",)) == ""


def test_what_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "klingon.txt").write_text("languages: tlh\n\nWrite more.")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    for given, said in (
        ("my own words.txt", r"there are no instructions 'my own words\.txt'"),
        ("cosmo", r"instructions: there are no instructions 'cosmo' \(nearest: 'cosmos'\)\. Name some, or a file"),
        (str(tmp_path / "empty.txt"), r"empty\.txt: 0 letters of instructions"),
        (str(tmp_path / "klingon.txt"), r"klingon\.txt: unknown value 'tlh'"),
        (str(tmp_path / "bytes.txt"), r"bytes\.txt: cannot be read: .* \(a text in UTF-8\)"),
    ):
        with pytest.raises(RequestError, match=said):
            find_instructions(given)
