"""The keyword dictionary: the plain way to do what a refiner does, and the opponent that a refiner has to beat.

It knows the words of its lists in all languages, in all their endings, and which other words stand in sentences and say
nothing. It takes the longest phrase first, forgives typing errors as difflib measures them, lets what is named first
count, fills what is left open as the policies say, copies what resembles no word it knows, and leaves captions alone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from .. import world
from .english import inflected
from .languages import LANGUAGES
from .own_words import KNOWN_TRIGGERS
from .rows import request_rows
from .slots import DEFAULTS, Slots, slots_of

#: How much of a word must be right for it to be a known one, by difflib's ratio.
CLOSENESS = 0.78
#: How many sentences are read to learn which words say nothing, and how often such a word must have been seen.
NUM_SENTENCES, TIMES_SEEN = 6000, 3
MAX_CHINESE_LETTERS = 9
#: The place of a word of the user's own in the subject.
OTHER = "other"
_CHINESE = re.compile("[\u4e00-\u9fff]+")
_WORDS = re.compile(r"[^\W\u4e00-\u9fff]+(?:[-'][^\W\u4e00-\u9fff]+)*|[\u4e00-\u9fff]+")
_GERMAN_ENDINGS = ("", "e", "er", "es", "en", "em")


@dataclass(frozen=True)
class Dictionary:
    """Phrases in small letters, to the slot and value they stand for ("" copies them), and words that say nothing."""

    meanings: Mapping[str, tuple[str, str]]
    fillers: frozenset[str]

    def __call__(self, prompt: str) -> str:
        """Answer a request with a caption."""
        if slots_of(prompt) is not None:
            return prompt
        found: dict[str, str] = {}
        others = []
        for slot, word in self._read(_WORDS.findall(prompt)):
            if slot == OTHER:
                others.append(word)
            else:
                found.setdefault(slot, word)
        return _caption(found, others)

    def _read(self, words: Sequence[str]) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(words):
            if _CHINESE.match(words[at]):
                yield from self._read_chinese(words[at])
                at += 1
                continue
            length = next((n for n in range(4, 0, -1) if " ".join(words[at : at + n]).lower() in self.meanings), 0)
            yield from self._meant(" ".join(words[at : at + length])) if length else self._guessed(words[at])
            at += max(1, length)

    def _read_chinese(self, text: str) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(text):
            length = next((n for n in range(MAX_CHINESE_LETTERS, 0, -1) if text[at : at + n] in self.meanings), 0)
            if length:
                yield from self._meant(text[at : at + length])
            at += max(1, length)

    def _meant(self, phrase: str) -> Iterator[tuple[str, str]]:
        slot, value = self.meanings[phrase.lower()]
        yield slot, value or phrase

    def _guessed(self, word: str) -> Iterator[tuple[str, str]]:
        small = word.lower()
        if small in self.fillers or len(small) < 2:
            return
        near = get_close_matches(small, [*self.meanings, *self.fillers], 1, CLOSENESS) if len(small) > 3 else []
        if not near:
            yield OTHER, word
        elif near[0] in self.meanings:
            slot, value = self.meanings[near[0]]
            yield slot, value or word


@cache
def build_dictionary(words: tuple[str, ...] = ("known",)) -> Dictionary:
    """Build the dictionary from some of the lists of words: ("known",), or ("known", "new")."""
    meanings: dict[str, tuple[str, str]] = dict.fromkeys(KNOWN_TRIGGERS, (OTHER, ""))
    for language in LANGUAGES.values():
        for slot, values in language.words.items():
            for value in values:
                for word in (word for name in words for word in language.words_for(slot, value, name)):
                    for phrase in _endings_of(word, slot, language.name):
                        meanings.setdefault(phrase, (slot, value))
        for slot in language.unsupported:
            for word in language.unsupported_words(slot, "known"):
                for phrase in _endings_of(word, slot, language.name):
                    meanings.setdefault(phrase, (slot if slot in ("motion", "background") else OTHER, ""))
    rows = request_rows(0, NUM_SENTENCES, kinds=("ordinary", "underspecified", "contradictory"))
    seen = Counter(word.lower() for row in rows for word in _WORDS.findall(row.prompt))
    fillers = {word for word, times in seen.items() if times >= TIMES_SEEN and word not in meanings}
    return Dictionary(meanings, frozenset(fillers))


def _endings_of(word: str, slot: str, language: str) -> Iterator[str]:
    """Give every form that a word of a list may have in a sentence, in small letters."""
    plain = word.strip("=~!").lower()
    if language == "en" and word.startswith("="):
        yield from (inflected(plain, ending) for ending in ("", "s", "ing"))
    elif language == "de" and slot == "motion":
        yield from plain.split("/")
    elif language == "de" and slot == "shape":
        yield plain.split(" ", 1)[1]
    elif language == "de":
        yield from (plain.removeprefix("einem ").removeprefix("einer ") + ending for ending in _GERMAN_ENDINGS)
    else:
        yield plain.removeprefix("a ")


def _caption(found: Mapping[str, str], others: Sequence[str]) -> str:
    named = next((word.lower() for word in others if word.lower() in world.OWN_COLOURS), "")
    if named:
        return Slots(
            "", named, found.get("motion", DEFAULTS.motion), found.get("background", DEFAULTS.background)
        ).caption
    subject = Slots() if others else DEFAULTS
    return Slots(
        found.get("colour", subject.colour),
        found.get("shape", subject.shape),
        found.get("motion", DEFAULTS.motion),
        found.get("background", DEFAULTS.background),
        tuple(others),
    ).caption
