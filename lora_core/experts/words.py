"""The words of a file's or folder's name that stand for an expert: the habits of people and trainers, as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from . import Expert

#: How sure a word is: it names the noise, it is a word of its own, it is a letter at the end; or only a file beside
#: this one that has the counterpart makes it one.
NOISE, WORD, LETTER, HINT = 3, 2, 1, 0

#: A word in a file name -> (its counterpart, the expert it stands for, how sure that is at best).
_WORDS: Mapping[str, tuple[str, Expert, int]] = {
    "high": ("low", "high_noise", WORD),
    "low": ("high", "low_noise", WORD),
    "hn": ("ln", "high_noise", WORD),
    "ln": ("hn", "low_noise", WORD),
    "hi": ("lo", "high_noise", HINT),
    "lo": ("hi", "low_noise", HINT),
    "h": ("l", "high_noise", LETTER),
    "l": ("h", "low_noise", LETTER),
}

#: What stands before "noise": a word of its own, run together in camel case, or among capitals; not the end of "glow".
#: "hinoise" goes with "lownoise".
_NOISE = re.compile(
    r"((?i:high)|(?<![A-Za-z])(?i:low|hi|lo)|(?<=[a-z])(?:L(?i:ow)|Hi|Lo)|(?<=[A-RT-Z])LOW)[\W_]*(?i:noise)"
)
_NOISE_COUNTERPARTS = {"high": "low", "hi": "low", "low": "high", "lo": "hi"}

#: After these, "high" and "low" say something about the picture or the file, not about the noise.
_ORDINARY = frozenset(
    {"angle", "cfg", "contrast", "cut", "def", "definition", "detail", "detailed", "details", "dim", "end", "fantasy"}
    | {"fashion", "fidelity", "fps", "heel", "heels", "key", "kick", "kicks", "light", "lighting", "lr", "motion"}
    | {"neck", "poly", "ponytail", "qual", "quality", "ram", "rank", "res", "resolution", "rise", "saturation"}
    | {"school", "speed", "step", "steps", "strength", "tech", "vram", "waist"}
)

#: Before these, too.
_QUALIFIERS = frozenset({"ankle", "knee", "mile", "sky", "so", "super", "thigh", "too", "ultra", "very"})

#: What trainers and people put behind the word for the expert.
_SUFFIXES = frozenset(
    {"a", "b", "bf", "bak", "ckpt", "checkpoint", "comfy", "comfyui", "copy", "distill", "ema", "expert", "final", "fp"}
    | {
        "gguf",
        "i",
        "it",
        "k",
        "kijai",
        "last",
        "lightning",
        "lightx",
        "lora",
        "loras",
        "merged",
        "model",
        "new",
        "noise",
    }
    | {"pruned", "resized", "seko", "t", "test", "ti", "ver", "version", "wan"}
)

#: What they count there: these say nothing without a number, except that "rank" and "steps" are then ordinary words.
_COUNTED = frozenset({"alpha", "dim", "e", "ep", "epoch", "iter", "lr", "r", "rank", "s", "step", "steps", "v"})

#: A word of a file name: capitals in front of a capitalised word, a word, capitals, or digits.
_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class Word:
    """One word of a name that stands for an expert, or may.

    Attributes:
        start, end: where it stands in the name.
        counterpart: the word for the other expert, in the same case.
        certainty: `NOISE`, `WORD`, `LETTER` or `HINT`.
    """

    start: int
    end: int
    counterpart: str
    expert: Expert
    certainty: int


@dataclass(frozen=True)
class Token:
    """One word or number of a name; `word` where it stands for an expert."""

    text: str
    word: Word | None


def expert_in_name(stem: str) -> Expert | None:
    """Return the expert that a name tells by its surest words, or None when it tells none or both."""
    words = [word for word in expert_words(stem) if word.certainty > HINT]
    surest = max((word.certainty for word in words), default=0)
    experts = {word.expert for word in words if word.certainty == surest}
    return experts.pop() if len(experts) == 1 else None


def expert_words(stem: str) -> list[Word]:
    """Return the words of a name that may stand for an expert, in order."""
    return [token.word for token in tokens_of(stem) if token.word is not None]


@lru_cache(maxsize=1 << 16)
def tokens_of(stem: str) -> tuple[Token, ...]:
    """Take a name apart into words and numbers, in small letters."""
    found = list(_matches(stem))
    texts = [match[0].lower() for match in found]
    return tuple(Token(text, _word(stem, found, texts, place)) for place, text in enumerate(texts))


def _matches(stem: str) -> Iterator[re.Match[str]]:
    position = 0
    for noise in _NOISE.finditer(stem):
        yield from _TOKEN.finditer(stem, position, noise.start())
        yield noise
        position = noise.end()
    yield from _TOKEN.finditer(stem, position)


def _word(stem: str, found: Sequence[re.Match[str]], texts: Sequence[str], place: int) -> Word | None:
    match = found[place]
    if match.re is _NOISE:
        said = match[1].lower()
        expert: Expert = "high_noise" if said.startswith("hi") else "low_noise"
        return Word(match.start(1), match.end(1), _in_case_of(match[1], _NOISE_COUNTERPARTS[said]), expert, NOISE)
    row = _WORDS.get(texts[place])
    if row is None:
        return None
    counterpart, expert, certainty = row
    sure = _certainty(stem, found, texts, place, certainty)
    return None if sure is None else Word(*match.span(), _in_case_of(match[0], counterpart), expert, sure)


def _certainty(stem: str, found: Sequence[re.Match[str]], texts: Sequence[str], place: int, at_best: int) -> int | None:
    """Return how sure a word of the table is where it stands; None where it is an ordinary word."""
    match, behind = found[place], texts[place + 1 :]
    is_last = _is_suffix(behind)
    if at_best == LETTER:
        if not _is_set_off(stem, match):
            return None
        return LETTER if is_last and stem[match.start() - 1 : match.start()] in tuple("_-. ") else HINT
    before = texts[place - 1] if place else ""
    if before in _QUALIFIERS or (not is_last and behind[0] in _ORDINARY):
        return None
    if is_last:
        return at_best
    is_stressed = match[0].isupper() and any(letter.islower() for letter in stem)
    return at_best if is_stressed or len(match[0]) == 2 else HINT


def _is_suffix(behind: Sequence[str]) -> bool:
    """Say whether what follows a word is what is put behind the name of an expert, if anything follows."""
    if not behind or behind[0].isdecimal() or behind[0] in _WORDS:
        return True
    if behind[0] in _COUNTED:
        return len(behind) > 1 and behind[1].isdecimal()
    return behind[0] in _SUFFIXES


def _is_set_off(stem: str, match: re.Match[str]) -> bool:
    """Say whether a letter is a word: between separators, or a capital behind a small letter."""
    before, after = stem[: match.start()][-1:], stem[match.end() :][:1]
    is_camel = match[0].isupper() and before.islower()
    return not after.isalnum() and (not before.isalnum() or is_camel)


def _in_case_of(original: str, word: str) -> str:
    if original.isupper():
        return word.upper()
    return word.capitalize() if original[0].isupper() else word
