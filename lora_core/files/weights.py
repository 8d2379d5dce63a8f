"""The weights of one LoRA as the rest of the package handles them: its deltas by target, with what the file says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..deltas import Delta
from ..experts import Expert
from .account import Account
from .purpose import Purpose, purpose_of


@dataclass(frozen=True)
class LoraWeights:
    """One LoRA, of one expert or of both.

    Attributes:
        deltas: target -> delta; in a file of both experts, the high-noise expert's.
        low_noise_deltas: the low-noise expert's deltas, in a file of both experts only.
        expert: the expert it is meant for, "both" for a file of both, None when nothing tells.
        expert_source: what told the expert: the tensors' prefix, an entry of the metadata, the file's name.
        base: the published model it fits, as much of its name as can be told (`families.family.Origin.base`).
        dialect: the dialect that most tensors are written in.
        notes: what a reader of the file should know and no error says.
    """

    path: Path | None
    name: str
    deltas: Mapping[str, Delta]
    low_noise_deltas: Mapping[str, Delta] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    expert: Expert | Literal["both"] | None = None
    expert_source: str = ""
    base: str | None = None
    dialect: str = ""
    account: Account = field(default_factory=Account)
    notes: tuple[str, ...] = ()

    def for_expert(self, expert: Expert) -> Mapping[str, Delta]:
        """Return the deltas meant for an expert; a file of one expert gives the same to both."""
        if expert == "low_noise" and self.low_noise_deltas is not None:
            return self.low_noise_deltas
        return self.deltas

    def only(self, expert: Expert) -> LoraWeights:
        """Return the part for one expert as weights of their own."""
        return replace(self, deltas=self.for_expert(expert), low_noise_deltas=None, expert=expert)

    @property
    def purpose(self) -> Purpose:
        """What it is for (speed, style, character, motion, quality), if its metadata or names tell."""
        where = (self.path.stem, self.path.parent.name) if self.path else (self.name,)
        return purpose_of(self.metadata, *where)

    @property
    def trigger_words(self) -> tuple[str, ...]:
        """The words its metadata asks to put into the prompt."""
        keys = ("trigger_words", "trigger_word", "modelspec.trigger_phrase", "ss_trigger_words")
        text = next((self.metadata[key] for key in keys if self.metadata.get(key)), "")
        return tuple(word.strip() for word in text.split(",") if word.strip())

    @property
    def ranks(self) -> tuple[int, ...]:
        """The distinct ranks of its low-rank deltas, ascending."""
        return tuple(sorted({delta.rank for delta in self._all() if delta.rank}))

    @property
    def num_bytes(self) -> int:
        return sum(delta.num_bytes for delta in self._all())

    def _all(self) -> Iterator[Delta]:
        yield from outlines_of(self.deltas).values()
        yield from outlines_of(self.low_noise_deltas or {}).values()


class LazyDeltas(Mapping[str, Delta]):
    """Deltas each built when it is first asked for, so that opening a file reads no values.

    Args:
        outlines: target -> the delta with tensors that have shapes and no values (torch's meta device).
        build: makes the delta of a target with its values, checked.
    """

    def __init__(self, outlines: Mapping[str, Delta], build: Callable[[str], Delta]) -> None:
        self.outlines = outlines
        self._build = build
        self._built: dict[str, Delta] = {}

    def __getitem__(self, target: str) -> Delta:
        if target not in self._built:
            if target not in self.outlines:
                raise KeyError(target)
            self._built[target] = self._build(target)
        return self._built[target]

    def stream(self) -> Iterator[tuple[str, Delta]]:
        """Yield each target and its delta, and keep none: a look at all of a big file in the memory of one."""
        for target in self.outlines:
            yield target, self.once(target)

    def once(self, target: str) -> Delta:
        """Return the delta of a target without keeping it."""
        return self._built[target] if target in self._built else self._build(target)

    def __iter__(self) -> Iterator[str]:
        return iter(self.outlines)

    def __len__(self) -> int:
        return len(self.outlines)

    def __contains__(self, target: object) -> bool:
        return target in self.outlines

    def __repr__(self) -> str:
        return f"LazyDeltas({len(self)} targets, {len(self._built)} read)"


def outlines_of(deltas: Mapping[str, Delta]) -> Mapping[str, Delta]:
    """Return the same deltas for a look at kinds, ranks and shapes, without reading values that are still in a file."""
    return deltas.outlines if isinstance(deltas, LazyDeltas) else deltas
