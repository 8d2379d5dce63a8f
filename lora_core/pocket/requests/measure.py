"""How good answers to requests are: right to the letter, right by slot, and by kind and language."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .rows import RequestRow
from .slots import Slots, slots_of
from .speech import SLOTS


@dataclass(frozen=True)
class RequestQuality:
    """Shares between 0 and 1; one of no rows is missing.

    Attributes:
        exact: answers that are right to the letter.
        slots: colour, shape, motion, background, others -> answers that are right there; what is no caption is wrong.
        grammar: answers that are captions at all.
        protected: words of the user's own that stand in the answer as they were typed.
        identity: good captions that stayed the same, byte for byte.
        ended: answers that the model ended itself.
        by_kind, by_language: exact among the rows of one.
    """

    num_rows: int
    exact: float
    slots: dict[str, float]
    grammar: float
    protected: float | None
    identity: float | None
    ended: float
    by_kind: dict[str, float]
    by_language: dict[str, float]


def measure(rows: Sequence[RequestRow], answers: Sequence[str], ended: Sequence[bool] | None = None) -> RequestQuality:
    """Measure the answers to rows, one each; `ended` is left out for what always ends, such as a dictionary."""
    is_right = [row.completion == answer for row, answer in zip(rows, answers, strict=True)]
    read = [slots_of(answer) for answer in answers]
    protected = [word in answer.split() for row, answer in zip(rows, answers, strict=True) for word in row.protected]
    by_kind = _by(rows, is_right, lambda row: row.kind)
    return RequestQuality(
        num_rows=len(rows),
        exact=_share(is_right) or 0.0,
        slots={
            slot: _share([_agree(row.slots, told, slot) for row, told in zip(rows, read, strict=True)]) or 0.0
            for slot in (*SLOTS, "others")
        },
        grammar=_share([told is not None for told in read]) or 0.0,
        protected=_share(protected),
        identity=by_kind.get("good"),
        ended=1.0 if ended is None else _share(ended) or 0.0,
        by_kind=by_kind,
        by_language=_by(rows, is_right, lambda row: row.language),
    )


def _agree(right: Slots, told: Slots | None, slot: str) -> bool:
    return told is not None and getattr(right, slot) == getattr(told, slot)


def _by(rows: Sequence[RequestRow], is_right: Sequence[bool], name: Callable[[RequestRow], str]) -> dict[str, float]:
    names = dict.fromkeys(name(row) for row in rows)
    return {
        each: _share([right for row, right in zip(rows, is_right, strict=True) if name(row) == each]) or 0.0
        for each in names
    }


def _share(flags: Sequence[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None
