"""Texts that know how they were made: English as ever, and a form of plain values beside it."""

import copy
import json
import pickle

import pytest

from lora_core.wording import form_of, indented, joined, said, wrapped


def test_a_filled_phrase_is_its_english_and_remembers_what_was_filled_in() -> None:
    text = said("{count} of {of}", count=2, of=said("steps"))
    assert text == "2 of steps"
    assert text.form == {"say": "{count} of {of}", "with": {"count": "2", "of": {"say": "steps", "with": {}}}}


def test_what_is_joined_indented_or_wrapped_remembers_its_parts() -> None:
    lines = joined("\n", ["a", said("b")])
    parts = ["a", {"say": "b", "with": {}}]
    assert (lines, lines.form) == ("a\nb", {"join": "\n", "of": parts})
    inner = indented(lines, "  ")
    assert (inner, inner.form) == ("  a\n  b", {"indent": "  ", "of": lines.form})
    narrow = wrapped(said("one two"), 5)
    assert (narrow, narrow.form) == ("one\n  two", {"wrap": 5, "of": {"say": "one two", "with": {}}})


def test_a_text_that_remembers_nothing_is_its_own_form() -> None:
    assert form_of("plain") == "plain"
    assert form_of(f"{said('a')} b") == "a b"
    assert form_of(3) == "3"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
def test_a_copy_remembers_it_too(copied) -> None:
    text = said("{name}: off", name="x")
    assert copied(text) == text
    assert copied(text).form == text.form


def test_a_record_writes_the_english() -> None:
    assert json.dumps({"text": said("{name}: off", name="x")}) == '{"text": "x: off"}'
