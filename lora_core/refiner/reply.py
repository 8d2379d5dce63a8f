"""The reply of a language model, and the prompt in it: without what it has thought, without label and marks."""

from __future__ import annotations

import re

from ..errors import RequestError
from ..wording import said
from .spans import APOSTROPHES, QUOTES

#: Where the template itself begins the thinking, the answer has its end alone.
_THOUGHT = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_THINKING = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_FENCE = re.compile(r"\A```[a-z]*\n(.*?)\n?```\Z", re.DOTALL)
_LABEL = re.compile(
    r"\A(?:\*\*|#+ *)?(?:(?:here is )?(?:the |your )?(?:refined|rewritten|enhanced|improved|final|new|video) )?"
    r"(?:prompt|caption|提示词|改写后的提示词|改写后)(?:\*\*)? *[:\uff1a](?:\*\*)?\s*",
    re.IGNORECASE,
)
#: A sentence of the instructions that is longer than this does not come into a prompt by chance.
_LONG_SENTENCE = 40


def prompt_in(reply: str, request: str, instructions: str, *, is_ended: bool, max_tokens: int) -> str:
    """Return the prompt that a reply has; label and quotation marks around all of it go, unless the request has such.

    Raises:
        RequestError: it was cut before its end, or repeats its instructions.
    """
    if not is_ended:
        what = said("it did not come to an end within {count:,} tokens", count=max_tokens)
        raise RequestError("refiner", what, remedy="Take another model, or give it more")
    text = _THOUGHT.sub("", reply).strip()
    if _THINKING.search(text):
        raise RequestError("refiner", said("it did not come to an end of its thinking"), remedy="Take another model")
    for without, is_there in ((_unlabelled, _LABEL.match), (_unfenced, _FENCE.match), (_unquoted, _is_quoted)):
        if not is_there(request.strip()):
            text = without(text).strip()
    if _repeats(text, instructions):
        raise RequestError("refiner", said("it repeats its instructions"), remedy="Take another model")
    return text


def _unfenced(text: str) -> str:
    fenced = _FENCE.match(text)
    return fenced[1] if fenced else text


def _unlabelled(text: str) -> str:
    return _LABEL.sub("", text, count=1)


def _unquoted(text: str) -> str:
    return text[1:-1] if _is_quoted(text) else text


def _is_quoted(text: str) -> bool:
    """Say whether one pair of quotation marks is around all of a text."""
    if len(text) < 3 or text[0] not in QUOTES or text[-1] not in QUOTES[text[0]]:
        return False
    inner = text[1:-1]
    return not any(mark in inner for mark in (text[0], text[-1]) if mark not in APOSTROPHES)


def _repeats(text: str, instructions: str) -> bool:
    """Say whether a text has a whole sentence of the instructions in it."""
    told, rules = _flat(text), re.split(r"(?<=[.;:。\uff1b])\s", _flat(instructions))
    return any(len(rule) > _LONG_SENTENCE and rule in told for rule in rules)


def _flat(text: str) -> str:
    return " ".join(text.split())
