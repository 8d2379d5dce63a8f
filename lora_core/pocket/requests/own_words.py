"""Words of the user's own: trigger words that LoRAs are known by, and made-up ones that nobody has seen before."""

import re
from difflib import SequenceMatcher
from functools import cache

import numpy as np

from .. import world
from ..text import SPARE_WORDS
from .languages import LANGUAGES

KNOWN_TRIGGERS = (*world.OWN_COLOURS, *SPARE_WORDS)
_STARTS = (
    *"bcdfghjklmnpqrstvwxz",
    *("bl", "br", "cr", "dr", "fl", "fr", "gl", "gr", "kl", "kn", "kr"),
    *("pl", "qu", "sh", "sk", "sn", "sp", "st", "th", "tr", "vr", "zw"),
)
_MIDDLES = (*"aeiouaeiou", "aa", "ee", "oo", "ai", "ou", "y")
_ENDS = ("", "", "", "", "n", "l", "x", "k", "m", "rt", "ng", "ff", "zz", "p", "s")
_TAILS = ("1", "2", "7", "9", "42", "77", "33", "007", "_v1", "_v2", "_01", "_style", "-x", "99", "2b")
_LEET = str.maketrans("aeio", "4310")


def trigger_word(rng: np.random.Generator) -> str:
    """Draw a trigger word: one that is known, or a made-up one."""
    if rng.random() < 0.3:
        word = str(rng.choice(KNOWN_TRIGGERS))
        return word.capitalize() if rng.random() < 0.15 else word
    return made_up_word(rng)


def made_up_word(rng: np.random.Generator) -> str:
    """Draw a word that nobody has seen before and that resembles no word of the requests."""
    while True:
        word = _made_up(rng)
        if not _resembles(word.lower()):
            return word


def _made_up(rng: np.random.Generator) -> str:
    num_syllables = int(rng.choice([1, 2, 2, 2, 3, 3, 4]))
    word = "".join(str(rng.choice(_STARTS)) + str(rng.choice(_MIDDLES)) for _ in range(num_syllables))
    word += str(rng.choice(_ENDS))
    style = rng.random()
    if style < 0.10:
        letters = rng.choice(list("bcdfghjklmnpqrstvwxz"), int(rng.integers(3, 6)))
        word = "".join(letters)
    if 0.05 < style < 0.25:
        word += str(
            rng.choice(["1", "2", "7", "9", "42", "77", "33", "007", "_v1", "_v2", "_01", "_style", "-x", "99", "2b"])
        )
    if 0.25 < style < 0.32:
        word = word.translate(_LEET)
    if 0.32 < style < 0.42:
        word = word.capitalize()
    return word


@cache
def _vocabulary() -> frozenset[str]:
    texts = [words for language in LANGUAGES.values() for slot in language.words.values() for words in slot.values()]
    return frozenset(re.findall(r"[^\W\d_]{3,}", " ".join(" ".join(lists) for lists in texts).lower()))


@cache
def _resembles(word: str) -> bool:
    matcher = SequenceMatcher(b=word, autojunk=False)
    for other in _vocabulary():
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() > 0.66 and matcher.quick_ratio() > 0.66 and matcher.ratio() > 0.66:
            return True
    return len(word) < 3
