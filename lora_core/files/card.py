"""The card of a LoRA file: all that the file and what lies beside it tell a person who chooses one.

Only headers and sidecars are read, never values, and nothing is looked up anywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from ..errors import LoraCoreError
from ..experts import Expert
from .advised import Advised
from .beside import Names, names_in, preview_of
from .headline import Headline, read_headline
from .plain_text import plain_text
from .purpose import Purpose, purpose_of
from .sidecars import Sidecar, read_sidecars, sidecar_files, words_of
from .trained_on import trained_on

#: What a value came from that the file itself tells.
FILE = "file"
#: How many cards stay in memory: those of a large collection.
_MAX_CARDS = 8192

#: The metadata entries in which people are told something.
_NOTES = ("about", "modelspec.description", "modelspec.usage_hint", "ss_training_comment")
_TITLES = ("modelspec.title", "ss_output_name", "name")

T = TypeVar("T")


@dataclass(frozen=True)
class LoraCard:
    """What is known of a LoRA file before it is used.

    Attributes:
        title: what its author calls it; "" where nobody says more than the file's name.
        base: the published model it fits, by its tensors.
        base_told: the model as a sidecar calls it.
        expert_source: what told the expert.
        purpose: what it is for, "" where nothing tells.
        strength: the strengths advised.
        notes: (who says it, plain text).
        training: what is told of its training, as `trained_on` calls it.
        preview: a picture or video beside it.
        sources: field -> who told it, of what a sidecar tells.
        faults: what could not be read, the file first; a card of a damaged file says so here.
    """

    path: Path
    size_bytes: int
    title: str = ""
    base: str = ""
    base_told: str = ""
    expert: Expert | Literal["both"] | None = None
    expert_source: str = ""
    purpose: Purpose = ""
    kinds: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    trigger_words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    strength: Advised | None = None
    notes: tuple[tuple[str, str], ...] = ()
    training: Mapping[str, str] = field(default_factory=dict)
    preview: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def read_card(path: str | Path, names: Names | None = None) -> LoraCard:
    """Return the card of a file; one that was read before and has not changed since is not read again.

    Args:
        path: the LoRA file.
        names: the names in its folder, from `names_in`, for who reads many cards of one folder.
    """
    path = Path(path)
    if names is None:
        names = names_in(path.parent)
    preview = preview_of(path, names)
    beside = tuple(sidecar_files(path, names))
    return _read(path, _stamp(path), tuple(map(_stamp, beside)), beside, preview)


def files_of_card(path: Path) -> list[Path]:
    """Return the files that a card's words are read from, for who asks whether one of them has changed."""
    return [path, *sidecar_files(path, names_in(path.parent))]


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of a file, by which a change is seen."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=_MAX_CARDS)
def _read(
    path: Path,
    stamp: tuple[int, int],
    _stamps: tuple[tuple[int, int], ...],
    beside: tuple[Path, ...],
    preview: Path | None,
) -> LoraCard:
    fault = ""
    try:
        headline = read_headline(path)
    except LoraCoreError as error:
        headline, fault = Headline(), _without_place(error)
    sidecars = read_sidecars(path, {file.name.lower(): file.name for file in beside})
    return _card(path, stamp[0], headline, sidecars, preview, fault)


def _card(
    path: Path, size: int, headline: Headline, sidecars: tuple[Sidecar, ...], preview: Path | None, fault: str
) -> LoraCard:
    metadata = headline.metadata
    words = [(FILE, headline.trigger_words), *((one.source, one.trigger_words) for one in sidecars)]
    title, title_source = _first([(one.source, one.title) for one in sidecars], "")
    base, base_source = _first([(one.source, one.base) for one in sidecars], "")
    strength, strength_source = _first([(one.source, one.strength) for one in sidecars], None)
    sources = {
        "title": title_source,
        "base_told": base_source,
        "strength": strength_source,
        "trigger_words": ", ".join(source for source, told in words if told),
    }
    return LoraCard(
        path=path,
        size_bytes=max(size, 0),
        title=title or next((metadata[key] for key in _TITLES if metadata.get(key)), ""),
        base=headline.base,
        base_told=base,
        expert=headline.expert,
        expert_source=headline.expert_source,
        purpose=purpose_of(metadata, path.stem, path.parent.name),
        kinds=headline.kinds,
        ranks=headline.ranks,
        trigger_words=_merged(told for _, told in words),
        tags=_merged([words_of([metadata.get("modelspec.tags")]), *(one.tags for one in sidecars)]),
        strength=strength,
        notes=_notes(metadata, sidecars),
        training=trained_on(metadata),
        preview=preview,
        sources={name: source for name, source in sources.items() if source},
        faults=(*filter(None, [fault]), *(one.fault for one in sidecars if one.fault)),
    )


def _first(told: Iterable[tuple[str, T]], nothing: T) -> tuple[T, str]:
    """Return the first value that is told, and by whom."""
    return next(((value, source) for source, value in told if value), (nothing, ""))


def _merged(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the words of all groups, each once, whatever the size of its letters."""
    once: dict[str, str] = {}
    for word in (word for group in groups for word in group):
        once.setdefault(word.lower(), word)
    return tuple(once.values())


def _notes(metadata: Mapping[str, str], sidecars: tuple[Sidecar, ...]) -> tuple[tuple[str, str], ...]:
    """Return what everybody says, without what another has said already."""
    told = [(FILE, plain_text(metadata[key])) for key in _NOTES if metadata.get(key, "None") != "None"]
    told += [(one.source, text) for one in sidecars for text in one.notes]
    kept: list[tuple[str, str]] = []
    for source, text in told:
        if text and not any(text in other for _, other in kept):
            kept.append((source, text))
    return tuple(kept)


def _without_place(error: LoraCoreError) -> str:
    """Return an error of a file without where on this machine it lies."""
    text = error.what + (f" ({error.expected})" if error.expected else "")
    return f"{text}. {error.remedy}." if error.remedy else f"{text}."
