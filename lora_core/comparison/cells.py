"""How numbers stand in the tables of a comparison: what is unknown is left empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MIB = 2**20


def rows_of(head: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
    yield ""


def plus_minus(spread: Mapping[str, Any] | None, digits: int) -> str:
    if spread is None:
        return ""
    half = "" if spread["half_width"] is None else f" ± {spread['half_width']:.{digits}f}"
    return f"{spread['mean']:.{digits}f}{half}"


def in_range(spread: Mapping[str, Any] | None) -> str:
    return "" if spread is None else f"{plus_minus(spread, 4)} ({spread['least']:.4f} to {spread['most']:.4f})"


def mib(num_bytes: int | None) -> str:
    return "" if num_bytes is None else f"{num_bytes / _MIB:,.1f}"


def fixed(number: float | None, digits: int = 0) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def first(found: Mapping[str, Any]) -> Any:
    """Return what is of the base that was trained on."""
    return next(iter(found.values()))
