"""The two noise experts of a model: their names, the noise each works at, and how file names tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from .checks import typed
from .errors import LoraFileError

Expert = Literal["high_noise", "low_noise"]
EXPERTS: tuple[Expert, Expert] = ("high_noise", "low_noise")


def expert_at(sigma: float, boundary: float | None) -> Expert:
    """Return the expert that works at `sigma`: the high-noise one from the boundary up, the low-noise one below.

    The boundary itself is the high expert's, as in Wan 2.2's `wan/text2video.py`. Without a boundary there is one
    network, and it goes by the name of the low-noise expert.
    """
    return "low_noise" if boundary is None or sigma < boundary else "high_noise"


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
    """One word of a file name that tells the experts apart."""

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


def twin_names(path: PurePath) -> list[str]:
    """Return the names that the other expert's file may have, the likeliest first."""
    words = sorted(expert_words(path.stem), key=lambda word: -word.certainty)
    if not words:
        return []
    surest = [word for word in words if word.certainty == words[0].certainty]
    names = [_swapped(path.stem, surest), *(_swapped(path.stem, [word]) for word in words)]
    return [f"{name}{path.suffix}" for name in dict.fromkeys(names) if name != path.stem]


def twin_beside(path: Path) -> Path | None:
    """Return the other expert's file beside `path`, if one of its names is there, in this case or another."""
    names = twin_names(path)
    exact = next((twin for name in names if (twin := path.with_name(name)).is_file()), None)
    if exact is not None or not names:
        return exact
    try:
        present = {candidate.name.lower(): candidate for candidate in path.parent.iterdir() if candidate.is_file()}
    except OSError:
        return None
    alike = (present.get(name.lower()) for name in names)
    return next((twin for twin in alike if twin is not None and twin.name != path.name), None)


@typed(LoraFileError)
def find_twin(path: str | Path) -> Path:
    """Return the other expert's file beside `path`, found by the words for high and low in its name."""
    path = Path(path)
    if not (names := twin_names(path)):
        what = "its name does not tell its expert, so it has no twin"
        remedy = "Name the other expert's file yourself"
        raise LoraFileError(
            path, what, expected="high_noise/low_noise, HIGH/LOW, HN/LN or a final _h/_l", remedy=remedy
        )
    if (twin := twin_beside(path)) is not None:
        return twin
    if not path.parent.is_dir():
        raise LoraFileError(path.parent, "the folder cannot be read")
    what, expected = "the other expert's file is not beside it", f"looked for {', '.join(names)}"
    raise LoraFileError(path, what, expected=expected, remedy="Put it there under that name, or name the file yourself")


def pairs_among(names: Iterable[str]) -> dict[str, str]:
    """Return high-noise file -> the low-noise file in the same folder, of the files whose names tell a pair."""
    listed = list(names)
    present = set(listed)
    pairs = {}
    for name in listed:
        path = Path(name)
        if expert_in_name(path.stem) == "high_noise":
            candidates = (str(path.with_name(twin)) for twin in twin_names(path))
            if (twin := next((candidate for candidate in candidates if candidate in present), None)) is not None:
                pairs[name] = twin
    return pairs


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
