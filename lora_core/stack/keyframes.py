"""Keyframes of a curve, as people give them: a list of pairs, or a text. What a position may be, each curve knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..checks import finite_number, number_text
from ..errors import StackError
from ..wording import said

#: Where on the curve, and its factor there.
Keyframe = tuple[float, float]
_REMEDY = "Correct the curve"


def keyframes_in(given: object, where: str, *, most: int) -> list[Keyframe]:
    """Return a list of pairs as floats, in the order given.

    Args:
        given: what the user gave for keyframes.
        where: what the curve is called.
        most: how many there may be.

    Raises:
        StackError: it is no list of pairs of finite numbers, is empty or too long.
    """
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        what = said("keyframes {keyframes!r:.60} are no list", keyframes=given)
        raise StackError(where, what, expected="[(position, factor), ...]", remedy=_REMEDY)
    pairs = tuple(given)
    if not 1 <= len(pairs) <= most:
        what = said("{count:,} keyframes", count=len(pairs))
        raise StackError(where, what, expected=said("1 to {most:,}", most=most), remedy="Add or remove some")
    return [_keyframe(pair, f"{where} keyframe {number}") for number, pair in enumerate(pairs, 1)]


def _keyframe(pair: object, where: str) -> Keyframe:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        what = said("{keyframe!r:.60} is none", keyframe=pair)
        raise StackError(where, what, expected="a pair: position, factor", remedy=_REMEDY)
    return finite_number(pair[0], where, StackError), finite_number(pair[1], where, StackError)


def keyframes_text(positions: Iterable[str], factors: Iterable[float]) -> str:
    """Return `position=factor`, separated by commas."""
    return ",".join(f"{at}={number_text(factor)}" for at, factor in zip(positions, factors, strict=True))


def pairs_in(text: str) -> list[tuple[str, str]] | None:
    """Take `position=factor,position=factor` apart; None where it is not that."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    return [(at, factor) for at, _, factor in pairs] if all(equals for _, equals, _ in pairs) else None


def check_length(text: str, where: str, most: int) -> None:
    """Refuse a text that no person has written."""
    if len(text) > most:
        what = said("{count:,} letters", count=len(text))
        raise StackError(where, what, expected=said("at most {most:,}", most=most), remedy="Shorten it")
