# ruff: noqa: RUF001  # people type these characters
"""What hasty hands do to a sentence: typing errors, lost capitals, lost umlauts; the user's own words stay whole."""

import re
from collections.abc import Callable

import numpy as np

from .speech import END

_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wqrtyuioiosadfghjkxzcvbn", strict=False))
_PARTS = re.compile(f"([\ue000-\ue004][^{END}]*{END})")
_WORD = re.compile(r"[A-Za-zäöüÄÖÜß]{4,}")
TYPING_SHARE, CASE_SHARE = 0.3, 0.3


def spoiled(text: str, rng: np.random.Generator) -> str:
    """Type a marked text in haste, now and then."""
    if rng.random() < TYPING_SHARE:
        for _ in range(int(rng.integers(1, 4))):
            text = _with_one_error(text, rng)
    if rng.random() < CASE_SHARE:
        change = (str.lower, str.lower, str.upper, _capitalised)[int(rng.integers(4))]
        text = change(text)
    if rng.random() < 0.1:
        text = _outside_own_words(text, lambda part: part.replace("ü", "ue").replace("ä", "ae").replace("ö", "oe"))
    if rng.random() < 0.15:
        text = _outside_own_words(text, lambda part: part.replace("，", str(rng.choice([" ", ",", ""]))))
    return text


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_one_error(text: str, rng: np.random.Generator) -> str:
    parts = _PARTS.split(text)
    words = [(index, match) for index in range(0, len(parts), 2) for match in _WORD.finditer(parts[index])]
    if not words:
        return text
    index, match = words[int(rng.integers(len(words)))]
    parts[index] = parts[index][: match.start()] + _mistyped(match[0], rng) + parts[index][match.end() :]
    return "".join(parts)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word)))
    letter = word[at]
    ways = (
        word[:at] + word[at + 1 :],
        word[: at - 1] + letter + word[at - 1] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + _NEIGHBOURS.get(letter, letter) + word[at + 1 :],
        word.translate(str.maketrans("äöüÄÖÜ", "aouAOU")),
    )
    return ways[int(rng.choice(5, p=(0.32, 0.28, 0.18, 0.17, 0.05)))]


def _outside_own_words(text: str, change: Callable[[str], str]) -> str:
    parts = _PARTS.split(text)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
