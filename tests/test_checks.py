"""The words that errors are written in."""

from __future__ import annotations

from lora_core.checks import first_few, shape_text


def test_a_shape_is_written_with_crosses() -> None:
    assert shape_text((128, 16, 1, 2, 2)) == "128x16x1x2x2"
    assert shape_text(()) == ""
    assert shape_text((), empty="a single number") == "a single number"


def test_the_first_few_cases_are_named_and_the_others_counted() -> None:
    assert first_few([]) == ""
    assert first_few("abc") == "a, b, c"
    assert first_few(iter("abcdefg")) == "a, b, c and 4 more"
    assert first_few("abc", 2, between="; ") == "a; b and 1 more"
