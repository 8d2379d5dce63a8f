"""Twins: the file of the other expert, known by its name, beside a file or in the sister folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from functools import lru_cache
from pathlib import Path, PurePath

from ..checks import typed
from ..errors import LoraFileError
from ..wording import said
from . import Expert
from .words import WORD, Word, expert_in_name, expert_words, tokens_of

#: Words before the number of a training step, in which twins may differ.
_STEP_WORDS = frozenset({"e", "ep", "epoch", "iter", "s", "step", "steps"})
#: A number of this many digits counts steps, or names a day, without such a word too.
_NUM_STEP_DIGITS = 4


def expert_of_path(path: Path) -> tuple[Expert, str] | None:
    """Return (the expert, what told it): the name of the file, else of its folder, else that it has a twin."""
    if (named := expert_in_name(path.stem)) is not None:
        return named, said("its name {name}", name=repr(path.name))
    folder = path.absolute().parent.name
    named = expert_in_name(folder)
    if named is not None and any(word.certainty >= WORD for word in expert_words(folder)):
        return named, said("its folder {name}", name=repr(folder))
    twin = twin_of(path)
    hints = set() if twin is None else _differing(path.stem, twin.stem)
    if twin is None or len(hints) != 1:
        return None
    return hints.pop(), said("its name beside {name}", name=repr(twin.name))


def twin_names(path: PurePath) -> list[str]:
    """Return the names that the other expert's file may have beside it, the likeliest first."""
    words = sorted(expert_words(path.stem), key=lambda word: -word.certainty)
    if not words:
        return []
    surest = [word for word in words if word.certainty == words[0].certainty]
    names = [_swapped(path.stem, group) for group in (surest, words, *([word] for word in words))]
    return [f"{name}{path.suffix}" for name in dict.fromkeys(names) if name != path.stem]


def twin_of(path: Path) -> Path | None:
    """Return the other expert's file if there is one; of another training step if it is the only one."""
    path = path.absolute()
    if not expert_words(path.stem) and not expert_words(path.parent.name):
        return None
    beside = _entries(path.parent.parent)
    sisters = [folder for folder in beside if _are_sisters(path.parent, folder) and folder.is_dir()]
    # Names first: a look at every file of a large folder on a network takes seconds.
    named = (file for folder in (path.parent, *sisters) for file in _entries(folder) if _closeness(path, file))
    chosen = _choose(path, (file for file in named if file.is_file()))
    return None if chosen is None else Path(chosen)


@typed(LoraFileError)
def find_twin(path: str | Path) -> Path:
    """Return the other expert's file, found by the words for high and low in the names of files and folders."""
    path = Path(path)
    if (twin := twin_of(path)) is not None:
        return twin
    if not (names := twin_names(path)):
        what = "its name does not tell its expert, so it has no twin"
        remedy = "Name the other expert's file yourself"
        raise LoraFileError(
            path, what, expected="high_noise/low_noise, HIGH/LOW, HN/LN or a final _h/_l", remedy=remedy
        )
    if not path.parent.is_dir():
        raise LoraFileError(path.parent, "the folder cannot be read", remedy="Check its permissions")
    what, expected = "the other expert's file is not beside it", said("looked for {names}", names=", ".join(names))
    raise LoraFileError(path, what, expected=expected, remedy="Put it there under that name, or name the file yourself")


def pairs_among(names: Iterable[str]) -> dict[str, str]:
    """Return high-noise file -> its low-noise twin, of the files of a list whose names or folders tell a pair."""
    paths = {PurePath(name): name for name in names}
    same, alike = (_grouped(paths, with_steps=with_steps) for with_steps in (True, False))
    pairs = {}
    for path, name in paths.items():
        if not expert_words(path.stem) and not expert_words(path.parent.name):
            continue
        # One that differs in no number goes first, so that the others need not be looked at.
        twin = _choose(path, same[_place(path, with_steps=True)]) or _choose(
            path, alike[_place(path, with_steps=False)]
        )
        if twin is not None and _told_apart(path, twin) == {"high_noise"}:
            pairs[name] = paths[twin]
    return pairs


def _grouped(paths: Iterable[PurePath], *, with_steps: bool) -> dict[Hashable, list[PurePath]]:
    groups: dict[Hashable, list[PurePath]] = defaultdict(list)
    for path in paths:
        groups[_place(path, with_steps=with_steps)].append(path)
    return groups


def _place(path: PurePath, *, with_steps: bool) -> Hashable:
    """Return what twins have in common: a name but for their experts, and the folder or one that has sisters."""
    return (
        _skeleton(path.stem, with_steps=with_steps),
        path.parent.parent,
        _skeleton(path.parent.name, with_steps=False),
    )


def how_found(path: Path, twin: Path) -> str:
    """Say where the twin of a file lies, and whether it is of another training step."""
    is_beside = twin.parent == path.parent
    place = said("beside it") if is_beside else said("in the folder {folder}", folder=repr(twin.parent.name))
    is_same = _skeleton(path.stem) == _skeleton(twin.stem)
    return place if is_same else said("{place}, of another training step or day", place=place)


def _choose(path: PurePath, files: Iterable[PurePath]) -> PurePath | None:
    """Return the twin among files: the closest, and of those that only nearly fit none unless it is the only one."""
    ranked = [(closeness, file) for file in files if (closeness := _closeness(path, file))]
    closest = max((closeness for closeness, _ in ranked), default=0)
    twins = [file for closeness, file in ranked if closeness == closest]
    if not twins or (closest <= 2 and len(twins) > 1):
        return None
    names = [path.name, *twin_names(path)] if twins[0].parent != path.parent else twin_names(path)
    order = {name: place for place, name in enumerate(dict.fromkeys([*names, *map(str.lower, names)]))}
    return min(twins, key=lambda file: (order.get(file.name, order.get(file.name.lower(), len(order))), file.name))


def _closeness(path: PurePath, other: PurePath) -> int:
    """Return how nearly two files are twins: 0 for not at all, 3 or 4 where no number differs."""
    if not _are_alike(path.stem, other.stem):  # of thousands in a folder nearly all
        return 0
    is_apart = path.parent != other.parent
    are_opposite = _are_apart(path, other) if is_apart else bool(_differing(path.stem, other.stem))
    if path.suffix.lower() != other.suffix.lower() or not are_opposite:
        return 0
    return (4 if _skeleton(path.stem) == _skeleton(other.stem) else 2) - is_apart


def _are_apart(path: PurePath, other: PurePath) -> bool:
    """Say whether two files of one name but for their experts lie in sister folders."""
    named = expert_in_name(path.stem)
    is_same = named is not None and named == expert_in_name(other.stem)
    return not is_same and _are_sisters(path.parent, other.parent)


def _told_apart(path: PurePath, twin: PurePath) -> set[Expert]:
    return _differing(path.stem, twin.stem) or _differing(path.parent.name, twin.parent.name)


def _are_sisters(folder: PurePath, other: PurePath) -> bool:
    return folder.parent == other.parent and bool(_differing(folder.name, other.name))


def _differing(name: str, other: str) -> set[Expert]:
    """Return what the first of two names, alike but for their experts, says where the other says the opposite."""
    if not _are_alike(name, other):
        return set()
    pairs = zip(expert_words(name), expert_words(other), strict=True)
    return {word.expert for word, counterpart in pairs if word.expert != counterpart.expert}


def _are_alike(name: str, other: str) -> bool:
    return _skeleton(name, with_steps=False) == _skeleton(other, with_steps=False)


@lru_cache(maxsize=1 << 16)
def _skeleton(name: str, *, with_steps: bool = True) -> tuple[str, ...]:
    """Return the words and numbers of a name, with nothing in the place of those that stand for an expert."""
    tokens = tokens_of(name)
    kept: list[str] = []
    for place, token in enumerate(tokens):
        before = tokens[place - 1].text if place else ""
        is_step = token.text.isdecimal() and (before in _STEP_WORDS or len(token.text) >= _NUM_STEP_DIGITS)
        if is_step and not with_steps:
            if kept and before in _STEP_WORDS:
                kept.pop()
            continue
        kept.append("" if token.word else token.text)
    return tuple(kept)


def _swapped(stem: str, words: Iterable[Word]) -> str:
    for word in sorted(words, key=lambda word: -word.start):
        stem = stem[: word.start] + word.counterpart + stem[word.end :]
    return stem


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
