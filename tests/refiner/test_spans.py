"""What of a prompt has to stay is found in any quotation marks and digits, and missed where an answer lacks it."""

from __future__ import annotations

import time

import pytest

from lora_core.refiner.spans import Span, protected_spans, value_of


@pytest.mark.parametrize(
    ("prompt", "words", "found"),
    [
        (
            'A Zibbo holds a sign "OPEN 24h" for 3 s',
            ("zibbo", "sks"),
            [("word", "Zibbo"), ("quote", "OPEN 24h"), ("number", "3")],
        ),
        ("the dog's bone isn't 'RED BULL'", (), [("quote", "RED BULL")]),
        (
            "一只zibbo在跑\uff0c牌子写着「你好」\uff0c\uff13次",
            ("zibbo", "猫"),
            [("word", "zibbo"), ("quote", "你好"), ("number", "3")],
        ),
        ("„Halt“ sagt er, «oui» sagt sie", (), [("quote", "Halt"), ("quote", "oui")]),
        ("sks123 runs, ohwx  woman", ("sks123", "ohwx woman"), [("word", "ohwx  woman"), ("word", "sks123")]),
        ("zibbos and 16:9, 1,000 cats", ("zibbo",), [("number", "16"), ("number", "9"), ("number", "1,000")]),
        ("a cat", ("",), []),
        ('a "7" sign and 17 balls', (), [("quote", "7"), ("number", "17")]),
    ],
)
def test_what_has_to_stay_is_found(prompt: str, words: tuple[str, ...], found: list[tuple[str, str]]) -> None:
    assert [(span.kind, span.text) for span in protected_spans(prompt, words)] == found


@pytest.mark.parametrize(
    ("span", "answer", "is_in"),
    [
        (Span("word", "zibbo"), "a red zibbo.", True),
        (Span("word", "ZIBBO", "zibbo"), "a red zibbo.", True),
        (Span("word", "zibbo"), "a Zibbo", False),
        (Span("word", "zibbo"), "two zibbos", False),
        (Span("word", "zibbo"), "红色zibbo在跑", True),
        (Span("quote", "OPEN"), "a sign reading “OPEN,” at night", True),
        (Span("quote", "OPEN"), "a sign reading 'OPEN'", True),
        (Span("quote", "OPEN"), "a sign that says OPEN", False),
        (Span("quote", "OPEN"), 'a sign that says "Open"', False),
        (Span("number", "3"), "30 cats", False),
        (Span("number", "3"), "3.0 cats, or \uff13", True),
        (Span("number", "1,000"), "1000 cats", True),
        (Span("number", "2.50"), "2,5 m", True),
    ],
)
def test_an_answer_has_it_or_has_lost_it(span: Span, answer: str, is_in: bool) -> None:
    assert span.is_in(answer) is is_in


@pytest.mark.parametrize("letters", ["'", " '", '"', "„", "“„«'", "1", "1,", "zibbo "])
def test_texts_made_of_marks_alone_take_no_time(letters: str) -> None:
    started = time.process_time()
    protected_spans(letters * (20_000 // len(letters)), ("zibbo",))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(("number", "value"), [("007", "7"), ("0.50", "0.5"), ("1,234,567.0", "1234567"), ("0", "0")])
def test_a_number_has_one_spelling(number: str, value: str) -> None:
    assert value_of(number) == value
