"""The protected spans of a prompt: trigger words, quoted text and numbers, which no refiner may change."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..wording import Said, said

#: Opening quotation mark -> those that close it, in the languages that prompts are written in.
QUOTES = {  # in the order of their use, those that look like others by their number
    '"': '"',
    "\uff02": "\uff02",  # a wide one
    "“": "”",
    "„": "“”",
    "”": "”",
    "«": "»",
    "»": "«",
    "\u2039": "\u203a",  # a single «
    "「": "」",
    "『": "』",
    "《": "》",
    "\u2018": "\u2019",  # a single “
    "\u201a": "\u2018\u2019",  # a single „
    "'": "'",
    "`": "`",
}
#: These are apostrophes as well: they quote where no letter stands outside of them.
APOSTROPHES = "'\u2018\u2019"
_LETTER = r"[^\W_]"
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?")


@dataclass(frozen=True)
class Span:
    """A part of a prompt that has to stay.

    Attributes:
        text: as it stands in the prompt, a quoted one without its marks.
        usual: of a word, as it was asked for; an answer may have either.
    """

    kind: Literal["word", "quote", "number"]
    text: str
    usual: str = ""

    def is_in(self, answer: str) -> bool:
        """Say whether an answer still has it: a word letter by letter, a quote within any marks, a number's value."""
        if self.kind == "word":
            return any(re.search(_whole(word), answer) for word in (self.text, self.usual) if word)
        if self.kind == "quote":
            return _ended(self.text) in map(_ended, _quoted(answer))
        return value_of(self.text) in map(value_of, _NUMBER.findall(_plain(answer)))

    def named(self) -> Said:
        """Return it as a sentence names it."""
        return _NAMED[self.kind](self.text)


_NAMED = {
    "word": lambda text: said("the word {text!r:.100}", text=text),
    "quote": lambda text: said("the quoted text {text!r:.100}", text=text),
    "number": lambda text: said("the number {text:.40}", text=text),
}


def protected_spans(prompt: str, words: Sequence[str] = ()) -> tuple[Span, ...]:
    """Return what of a prompt has to stay, each once: of the words those that it has, in any case; quotes; numbers."""
    spans, rest = [], prompt
    for word in sorted(filter(None, map(str.strip, words)), key=len, reverse=True):
        spans += [Span("word", found, word) for found in re.findall(_whole(word), prompt, re.IGNORECASE)]
        rest = re.sub(_whole(word), " ", rest, flags=re.IGNORECASE)
    spans += [Span("quote", quoted) for quoted in _quoted(prompt)]
    rest = _QUOTE.sub(" ", rest)
    spans += [Span("number", number) for number in _NUMBER.findall(_plain(rest))]
    return tuple(dict.fromkeys(spans))


def without_spans(text: str, spans: Sequence[Span]) -> str:
    """Return a text without its protected spans, which may be in another language than the rest."""
    for span in spans:
        for form in filter(None, (span.text, span.usual)):
            text = text.replace(form, " ")
    return text


def value_of(number: str) -> str:
    """Return a number in one spelling: 1,000 and 1000 are one, and so are 2.50 and 2,5."""
    plain = number.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", number) else number.replace(",", ".")
    whole, point, part = plain.partition(".")
    part = part.rstrip("0") if point else ""
    return (whole.lstrip("0") or "0") + (f".{part}" if part else "")


def _ended(quoted: str) -> str:
    """Return a quoted text without the marks of the sentence that may stand inside of its own."""
    return quoted.rstrip(".,;!?。\uff0c")


def _plain(text: str) -> str:
    """Return a text with digits of other scripts, wide ones for example, as 0 to 9."""
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)


def _whole(word: str) -> str:
    """Return the pattern of a word that stands by itself.

    Languages that are written without spaces have their words inside others.
    """
    inner = r"\s+".join(map(re.escape, word.split()))
    return rf"(?<![0-9A-Za-z_]){inner}(?![0-9A-Za-z_])"


def _quoted(text: str) -> list[str]:
    """Return what stands within quotation marks, in order."""
    found = _QUOTE.finditer(text)
    texts = (next(group for group in match.groups() if group is not None).strip() for match in found)
    return [quoted for quoted in texts if quoted]


def _quote(opening: str, closing: str) -> str:
    """Return the pattern of a text within one kind of marks, the text as a group."""
    if opening in APOSTROPHES:
        return rf"(?<!{_LETTER}){opening}(?=\S)((?:(?!{opening}).)+?)[{closing}](?!{_LETTER})"
    return rf"{re.escape(opening)}([^{re.escape(opening + closing)}\n]+)[{re.escape(closing)}]"


_QUOTE = re.compile("|".join(_quote(opening, closing) for opening, closing in QUOTES.items()))
