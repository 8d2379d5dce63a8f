# ruff: noqa: RUF001  # people type these characters
"""The keyword dictionary, and the measure of answers."""

import pytest

from lora_core.pocket.requests.dictionary import build_dictionary
from lora_core.pocket.requests.measure import measure
from lora_core.pocket.requests.rows import request_rows

RIGHT = {
    "crimson ball rising over zebra lines": "a red circle moves up on a striped background",
    "crimsn ball risng over zebra lines": "a red circle moves up on a striped background",
    "ein roter Kreis fliegt nach links vor Streifen": "a red circle moves left on a striped background",
    "sks kreis geht hoch": "a sks circle moves up on a plain background",
    "一个蓝色方块向上移动，棋盘格背景": "a blue square moves up on a checkered background",
    "a red or blue circle moving left": "a red circle moves left on a plain background",
    "quuxnarf moving up": "a quuxnarf moves up on a plain background",
    "a purple circle": "a purple circle moves right on a plain background",
    "zibbo going up on stripes": "a zibbo moves up on a striped background",
    "a sks red circle orbits on a plain background": "a sks red circle orbits on a plain background",
    "": "a red circle moves right on a plain background",
}


@pytest.mark.parametrize(("prompt", "caption"), RIGHT.items())
def test_the_dictionary_answers_as_a_dictionary_can(prompt: str, caption: str) -> None:
    assert build_dictionary()(prompt) == caption


def test_a_dictionary_of_more_lists_knows_more() -> None:
    assert build_dictionary(("known", "new"))("ruby marble") == "a red circle moves right on a plain background"
    assert build_dictionary()("ruby marble") != "a red circle moves right on a plain background"


def test_a_dictionary_may_leave_out_what_it_does_not_know() -> None:
    told = build_dictionary(copies_unknown=False)
    assert told("behold, quuxnarf: a red ball") == "a red circle moves right on a plain background"
    assert told("sks red ball") == "a sks red circle moves right on a plain background"


def test_right_answers_are_wholly_right() -> None:
    rows = request_rows(1, 80)
    told = measure(rows, [row.completion for row in rows])
    assert (told.exact, told.grammar, told.protected, told.identity, told.ended) == (1, 1, 1, 1, 1)
    assert set(told.slots.values()) == set(told.by_kind.values()) == set(told.by_language.values()) == {1}


def test_an_answer_is_right_in_part() -> None:
    (row,) = request_rows(1, 1, kinds=("ordinary",))
    told = measure([row], [row.slots.with_value("colour", "pink").caption], [False])
    assert (told.exact, told.ended, told.protected, told.identity) == (0, 0, None, None)
    assert told.slots == {"colour": 0, "shape": 1, "motion": 1, "background": 1, "others": 0}
    assert measure([row], ["nothing like it"]).grammar == 0
