"""The words that errors are written in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from lora_core.checks import first_few, shape_text, shown, typed
from lora_core.errors import StackError


def test_a_shape_is_written_with_crosses() -> None:
    assert shape_text((128, 16, 1, 2, 2)) == "128x16x1x2x2"
    assert shape_text(()) == ""
    assert shape_text((), empty="a single number") == "a single number"


def test_the_first_few_cases_are_named_and_the_others_counted() -> None:
    assert first_few([]) == ""
    assert first_few("abc") == "a, b, c"
    assert first_few(iter("abcdefg")) == "a, b, c and 4 more"
    assert first_few("abc", 2, between="; ") == "a; b and 1 more"


@typed(StackError)
def add(
    path: str | Path,
    numbers: Sequence[float] = (),
    *,
    mode: Literal["a", "b"] = "a",
    weights: Unknown = None,  # noqa: F821  # as where it is imported for type checkers alone
) -> str:
    return f"{path} {sum(numbers)} {mode}"


def test_a_typed_function_takes_what_its_annotations_say_and_names_what_is_not_so() -> None:
    assert add("x", [1, 2.5], mode="b", weights=object()) == "x 3.5 b"
    assert add(Path("x"), np.ones(2)) == "x 2.0 a"
    for arguments, said in (
        ({"path": None}, "add: path is None (str or Path). Give it another value."),
        ({"path": "x", "numbers": "12"}, "add: numbers is '12' (Sequence[float]). Give it another value."),
        ({"path": "x", "numbers": [1, "2"]}, "add: numbers is [1, '2'] (Sequence[float]). Give it another value."),
        ({"path": "x", "numbers": {1: 2}}, "add: numbers is {1: 2} (Sequence[float]). Give it another value."),
        ({"path": "x", "mode": 3}, "add: mode is 3 (Literal['a', 'b']). Give it another value."),
    ):
        with pytest.raises(StackError) as error:
            add(**arguments)
        assert str(error.value) == said
    with pytest.raises(TypeError):
        add()


def test_a_long_text_is_shown_by_its_beginning() -> None:
    assert shown("abc") == "'abc'"
    assert shown("a" * 100, 5) == "'aaaaa'…"
