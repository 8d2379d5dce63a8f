"""The faults of a refiner's answer, and of the prompt it is given: each check in turn, and the first one counts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from ..checks import first_few, shown
from ..wording import said
from .languages import is_wrong
from .spans import Span, without_spans

#: More than this is no prompt; a text encoder reads 512 tokens.
MAX_LETTERS = 20_000
#: Control characters that a text may have.
_WHITE = "\t\n\r"


def prompt_fault(prompt: str) -> str:
    """Return why a prompt is not given to any refiner, or ""."""
    if not prompt.strip():
        return said("there is nothing to refine")
    if len(prompt) > MAX_LETTERS:
        count, most = len(prompt), MAX_LETTERS
        return said("{count:,} letters are no prompt, at most {most:,} are refined", count=count, most=most)
    if controls := _controls(prompt):
        return said("the prompt has control characters, {names}", names=first_few(controls))
    return ""


def answer_fault(answer: object, prompt: str, spans: Sequence[Span], language: str) -> str:
    """Return why an answer does not count, or ""."""
    if not isinstance(answer, str):
        return said("it gave {kind} and no text", kind=type(answer).__name__)
    return next(_faults(answer.strip(), spans, language), "")


def _faults(answer: str, spans: Sequence[Span], language: str) -> Iterator[str]:
    if not answer:
        yield said("it gave nothing")
    if len(answer) > MAX_LETTERS:
        yield said("it gave {count:,} letters, {start}", count=len(answer), start=shown(answer))
    if controls := _controls(answer):
        yield said("it gave control characters, {names}", names=first_few(controls))
    if lost := [span for span in spans if not span.is_in(answer)]:
        yield said("it lost {spans} in {answer}", spans=first_few(span.named() for span in lost), answer=shown(answer))
    if is_wrong(without_spans(answer, spans), language):
        yield said("it answered in another language than {language}, {start}", language=language, start=shown(answer))


def _controls(text: str) -> list[str]:
    """Return the names of control characters, and of halves of letters, that a text has."""
    found = dict.fromkeys(letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs"))
    return [f"U+{ord(letter):04X}" for letter in found if letter not in _WHITE]
