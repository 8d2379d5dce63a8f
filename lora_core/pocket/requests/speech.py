# ruff: noqa: RUF001  # people type these characters
"""What all languages of requests share: what is said, the user's own words in it, and the forms it is put into."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

#: value -> the words of its three lists, each parted by commas.
WordLists = Mapping[str, tuple[str, str, str]]
LISTS = ("known", "new", "unseen")
SLOTS = ("colour", "shape", "motion", "background")
#: Private characters around a word of the user's own while a sentence is built: where it stands -> its mark.
MARKS = {"colour": "\ue000", "shape": "\ue001", "motion": "\ue002", "background": "\ue003", "trigger": "\ue004"}
END = "\ue00f"
#: What people put around a part of a request.
WRAPPINGS = (("[", "]"), ('"', '"'), ("<", ">"), ("*", "*"), ("“", "”"), ("...", "..."), ("_", "_"), ("【", "】"))
_OWN = re.compile("([\ue000-\ue004])([^\ue00f]*)\ue00f")


@dataclass(frozen=True)
class Said:
    """The words of one request, by slot; a slot that is not said is empty, and one said twice has two words."""

    colours: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    motions: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    joiner: str = " "

    def with_words(self, slot: str, *words: str) -> "Said":
        """Return the same, but for the words of a slot."""
        changed: dict[str, Any] = {f"{slot}s": words}
        return replace(self, **changed)


@dataclass(frozen=True)
class Language:
    """A language of requests; pairs are (known, unseen), texts are lists parted by commas or by |."""

    name: str
    words: Mapping[str, WordLists]
    unsupported: Mapping[str, tuple[str, str]]
    joiners: tuple[str, ...]
    forms: tuple[tuple[str, ...], tuple[str, ...]]
    openers: tuple[str, str]
    closers: tuple[str, str]
    loose: tuple[tuple[str, ...], ...]
    joints: tuple[str, ...]
    nothing: tuple[str, str]
    trigger_closers: tuple[str, ...]
    phrases: Callable[[Said, np.random.Generator, int], dict[str, str]]

    def words_for(self, slot: str, value: str, words: str) -> list[str]:
        """List the words of one of the three lists for a value of a slot."""
        return split(self.words[slot][value][LISTS.index(words)])

    def unsupported_words(self, slot: str, words: str) -> list[str]:
        """List words of a slot that the pocket world lacks; a tuning is shown the known ones."""
        return split(self.unsupported[slot][words == "unseen"])


def split(words: str) -> list[str]:
    """Take a list of words apart at its commas."""
    return [word.strip() for word in words.split(",")]


def chosen(rng: np.random.Generator, words: str) -> str:
    """Draw one of the words of a list."""
    return str(rng.choice(split(words)))


def listed(words: Sequence[str], joiner: str) -> str:
    """Say the words one after another."""
    return joiner.join(words)


def own(slot: str, word: str) -> str:
    """Mark a word as the user's own, which is copied as it is; a sign of how it is used stays outside."""
    before, after = "=" if word.startswith("=") else "", "~" if word.endswith("~") else ""
    return f"{MARKS[slot]}{before}{word.strip('=~')}{END}{after}"


def without_marks(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Take the marks out of a text, and list the user's own words as (slot, word), in their order."""
    slots = {mark: slot for slot, mark in MARKS.items()}
    return _OWN.sub(r"\2", text), [(slots[mark], word) for mark, word in _OWN.findall(text)]


def filled(form: str, phrases: Mapping[str, str]) -> str:
    """Fill a form; a part between two | whose phrases are empty is left out. Empty if it would lose a phrase with them.

    >>> filled("{bare}|, {way}|, {look}", {"bare": "red ball", "way": "", "look": "stripes"})
    'red ball, stripes'
    """
    text = ""
    for part in form.split("|"):
        told = [bool(phrases[name]) for name in re.findall(r"{(\w+)}", part)]
        if all(told):
            text += part.format_map(phrases)
        elif any(told):
            return ""
    return re.sub(" +", " ", text).strip(" ,.:;-/、，。：")


def loose_form(parts: Sequence[Sequence[str]], joints: Sequence[str], rng: np.random.Generator) -> str:
    """Put a form together as people do who write no sentences: one of each of the parts, in any order."""
    chosen_parts = [str(rng.choice(part)) for part in parts]
    form = ""
    for index in rng.permutation(len(parts)):
        opening, closing = WRAPPINGS[int(rng.integers(len(WRAPPINGS)))] if rng.random() < 0.15 else ("", "")
        joint = str(rng.choice(joints)) if form else ""
        form += ("|" if form else "") + f"{joint}{opening}{chosen_parts[index]}{closing}"
    return form
