"""Refiners of prompts: a callable or a real command, whose failure never stands in the way."""

from __future__ import annotations

import sys
import time

import pytest

from lora_core.errors import RequestError
from lora_core.refiner.command import CommandRefiner
from lora_core.refiner.refine import refine

PROMPT = "a cat runs, 猫"


def python(code: str) -> str:
    return f'"{sys.executable}" -c "{code}"'


def test_a_command_reads_the_prompt_and_prints_the_refined_one() -> None:
    told = refine(PROMPT, CommandRefiner("sed s/cat/tabby/"))
    assert (told.given, told.prompt, told.fault) == (PROMPT, "a tabby runs, 猫", "")
    assert told.note() == "refiner: the prompt is now 'a tabby runs, 猫'"
    assert told.row() == {
        "by": "`sed s/cat/tabby/`",
        "given": PROMPT,
        "prompt": "a tabby runs, 猫",
        "kept": [],
        "fault": None,
        "seconds": round(told.seconds, 4),
    }


@pytest.mark.parametrize(("written", "usual"), [("Zibbo", "zibbo"), ("zibbo", "Zibbo")])
def test_a_trigger_word_stays_as_the_prompt_or_the_lora_writes_it(written: str, usual: str) -> None:
    for kept in (written, usual):
        told = refine(f"a {written} runs", lambda prompt, kept=kept: f"a red {kept} runs", protected=[usual])
        assert (told.prompt, told.fault, told.kept) == (f"a red {kept} runs", "", (written,))
    lost = refine(f"a {written} runs", lambda prompt: "a red ZIBBO runs", protected=[usual])
    assert lost.fault.startswith(f"it lost the word '{written}'")


def test_a_callable_is_named_by_where_it_is_defined() -> None:
    told = refine("a", fuller)
    assert (told.prompt, told.by) == ("a, in the evening", f"{__name__}.fuller")


def fuller(prompt: str) -> str:
    return f" {prompt}, in the evening\n"


@pytest.mark.parametrize(
    ("refiner", "said"),
    [
        (CommandRefiner("false"), "it ended with 1: it says nothing of why"),
        (CommandRefiner(python("raise SystemExit('no key')")), "it ended with 1: no key"),
        (CommandRefiner("true"), "it gave nothing"),
        (lambda prompt: " \n", "it gave nothing"),
        (lambda prompt: None, "it gave NoneType and no text"),
        (lambda prompt: prompt * 5000, "it gave 65,000 letters"),
        (lambda prompt: 1 / 0, "it failed with ZeroDivisionError: division by zero"),
    ],
)
def test_where_it_fails_the_prompt_is_used_as_it_was_and_that_is_said(refiner, said: str) -> None:
    told = refine(PROMPT, refiner)
    assert told.prompt == PROMPT
    assert told.fault.startswith(said)
    assert told.note() == f"refiner: {told.fault}; the prompt is used as it was"
    assert told.row()["fault"] == told.fault


@pytest.mark.parametrize(
    ("prompt", "answer", "words", "fault"),
    [
        ("a zibbo runs", "a creature runs", ("zibbo",), "it lost the word 'zibbo' in 'a creature runs'"),
        ("a zibbo runs", "a Zibbo runs", ("zibbo",), "it lost the word 'zibbo' in 'a Zibbo runs'"),
        ("3 of 12 cats", "some cats", (), "it lost the number 3, the number 12 in 'some cats'"),
        ('a sign "OPEN"', "a sign", (), "it lost the quoted text 'OPEN' in 'a sign'"),
        ("a cat", "a\x1b[31m cat\ud800", (), "it gave control characters, U+001B, U+D800"),
        ("a cat", "a cat\nruns", (), ""),
        ("a cat", "a zibbo", ("zibbo",), ""),
    ],
)
def test_an_answer_counts_if_it_keeps_what_has_to_stay(prompt, answer, words, fault) -> None:
    told = refine(prompt, lambda _: answer, protected=words)
    assert told.fault == fault
    assert told.prompt == (prompt if fault else answer)


def test_an_answer_in_another_language_than_asked_for_does_not_count() -> None:
    german = "ein roter Kreis steigt auf einem Feld"
    assert refine("a cat", lambda _: german, language="en").fault.startswith("it answered in another language than en")
    assert refine("a cat", lambda _: german, language="de").prompt == german
    assert refine("a cat", lambda _: german).prompt == german
    assert refine('sign "一只猫在跑步"', lambda _: 'a sign with "一只猫在跑步" on it', language="en").fault == ""


def test_arguments_that_cannot_be_meant_are_errors() -> None:
    with pytest.raises(RequestError, match=r"^language: unknown value 'english' \(nearest|one of"):
        refine("a cat", str.upper, language="english")
    with pytest.raises(RequestError, match="protected is 'zibbo'"):
        refine("a zibbo", str.upper, protected="zibbo")


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("", "there is nothing to refine"),
        (" \n", "there is nothing to refine"),
        ("cat " * 25_000, "100,000 letters are no prompt, at most 20,000 are refined"),
        ("a\x00 cat\x07\x00", "the prompt has control characters, U+0000, U+0007"),
        ("a \ud800", "the prompt has control characters, U+D800"),
    ],
)
def test_no_refiner_is_asked_for_what_is_no_prompt(prompt: str, fault: str) -> None:
    told = refine(prompt, lambda _: pytest.fail("it was asked"))
    assert (told.prompt, told.fault) == (prompt, fault)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started() -> None:
    started = time.monotonic()
    told = refine(PROMPT, CommandRefiner("sh -c 'sleep 60; cat'", seconds=0.3))
    assert time.monotonic() - started < 30
    assert told.fault == "it was not done within 0.3 s"


@pytest.mark.parametrize(
    ("command", "seconds", "said"),
    [
        ("no-such-refiner -x", 1, "refiner: there is no command 'no-such-refiner' (a program, with its arguments)."),
        ("", 1, "refiner: there is no command ''"),
        ("cat 'x", 1, 'refiner: "cat \'x" cannot be read: No closing quotation (a command). Close its quotes.'),
        ("cat", 0, "refiner seconds: 0 leaves it no time (more than 0)."),
    ],
)
def test_a_command_that_is_not_there_is_an_error_before_anything_runs(command: str, seconds: float, said: str) -> None:
    with pytest.raises(RequestError) as error:
        CommandRefiner(command, seconds)
    assert str(error.value).startswith(said)


def test_a_command_that_never_ends_its_answer_is_ended_and_takes_no_memory_for_it() -> None:
    started = time.monotonic()
    told = refine(PROMPT, CommandRefiner("yes", seconds=60))
    assert time.monotonic() - started < 30
    assert told.fault == "it gave more than 1,048,576 bytes, and was ended"
    assert told.prompt == PROMPT


def test_what_a_command_complains_of_is_one_line_that_a_terminal_can_show() -> None:
    told = refine(PROMPT, CommandRefiner(python(r"raise SystemExit(chr(27) + '[31mred')")))
    assert told.fault == r"it ended with 1: \x1b[31mred"


def test_a_command_that_does_not_read_its_prompt_is_not_waited_for() -> None:
    assert refine("a" * 19_000, CommandRefiner("echo better")).prompt == "better"
