"""The expert a file name tells, and the names that the other expert's file may have beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .families.base import Expert

#: A word in a file name -> (its counterpart, the expert it stands for, how sure that is).
_WORDS: Mapping[str, tuple[str, Expert, int]] = {
    "highnoise": ("lownoise", "high_noise", 3),
    "lownoise": ("highnoise", "low_noise", 3),
    "hn": ("ln", "high_noise", 2),
    "ln": ("hn", "low_noise", 2),
    "high": ("low", "high_noise", 2),
    "low": ("high", "low_noise", 2),
    "h": ("l", "high_noise", 1),
    "l": ("h", "low_noise", 1),
}

#: After these, "high" and "low" say something about the picture or the file, not about the noise.
_ORDINARY = frozenset(
    {"angle", "cfg", "contrast", "cut", "def", "definition", "detail", "detailed", "details", "dim", "end", "fantasy"}
    | {"fashion", "fps", "heel", "heels", "key", "light", "lighting", "lr", "motion", "neck", "poly", "ponytail"}
    | {"qual", "quality", "ram", "rank", "res", "resolution", "rise", "saturation", "school", "speed", "step", "steps"}
    | {"strength", "tech", "vram", "waist"}
)

#: A word of a file name: capitals in front of a capitalised word, a word, capitals, or digits.
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class Word:
    """Be one word of a file name that tells the experts apart."""

    start: int
    end: int
    counterpart: str
    expert: Expert
    certainty: int


def expert_in_name(stem: str) -> Expert | None:
    """Return the expert that a file name tells by its surest words, or None when it tells none or both."""
    words = list(expert_words(stem))
    surest = max((word.certainty for word in words), default=0)
    experts = {word.expert for word in words if word.certainty == surest}
    return experts.pop() if len(experts) == 1 else None


def expert_words(stem: str) -> Iterator[Word]:
    """Yield the words of a file name that may stand for an expert, in order."""
    found = list(_WORD.finditer(stem))
    for index, match in enumerate(found):
        row = _WORDS.get(match[0].lower())
        if row is None:
            continue
        counterpart, expert, certainty = row
        following = found[index + 1][0].lower() if index + 1 < len(found) else ""
        if certainty == 1 and not _stands_alone(stem, found, index):
            continue
        if match[0].lower() in ("high", "low"):
            if following in _ORDINARY:
                continue
            certainty = 3 if following == "noise" else certainty
        yield Word(match.start(), match.end(), _in_case_of(match[0], counterpart), expert, certainty)


def twin_names(path: Path) -> list[str]:
    """Return the names that the other expert's file may have, the likeliest first."""
    words = sorted(expert_words(path.stem), key=lambda word: -word.certainty)
    if not words:
        return []
    surest = [word for word in words if word.certainty == words[0].certainty]
    names = [_swapped(path.stem, surest), *(_swapped(path.stem, [word]) for word in words)]
    return [f"{name}{path.suffix}" for name in dict.fromkeys(names) if name != path.stem]


def _stands_alone(stem: str, words: list[re.Match[str]], index: int) -> bool:
    """Say whether a single letter is set off by a separator and followed by nothing but a version."""
    match = words[index]
    before = stem[match.start() - 1 : match.start()]
    rest = stem[match.end() :]
    return before in ("_", "-", ".", " ") and re.fullmatch(r"([._ -]?(v|e|epoch|step)?[\d.]+)*", rest) is not None


def _in_case_of(original: str, word: str) -> str:
    if original.isupper():
        return word.upper()
    return word.capitalize() if original[0].isupper() else word


def _swapped(stem: str, words: list[Word]) -> str:
    for word in sorted(words, key=lambda word: -word.start):
        stem = stem[: word.start] + word.counterpart + stem[word.end :]
    return stem
