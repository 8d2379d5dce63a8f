"""The lists in the table [compare] of a comparison, checked: what is tried of each, every one once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..checks import finite_number, known_keys
from ..errors import TrainingError
from ..training.settings.adapter import METHODS


def listed(name: str, value: Any) -> tuple[Any, ...]:
    """Return the list of a key, a text not being one."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        what, remedy = f"{value!r:.60} is no list", "Put it in square brackets, even where it is but one"
        raise TrainingError(name, what, expected=f"{name.rpartition('.')[2]} = [ … ]", remedy=remedy)
    return tuple(value)


def listed_rates(value: Any, example: str) -> dict[str, tuple[Any, ...]]:
    """Return method -> its list of rates, from the table of a file."""
    if not isinstance(value, Mapping):
        what, remedy = f"{value!r:.60} is no table", "Write the rates of each method under [compare.rates]"
        raise TrainingError("rates", what, expected=example, remedy=remedy)
    return {method: listed(f"rates.{method}", given) for method, given in value.items()}


def check_list(name: str, values: Sequence[Any], *, may_be_empty: bool) -> None:
    """Raise where a list is empty that must not be, or names something twice."""
    if not values and not may_be_empty:
        remedy = "Give one, or leave the key out for the usual ones"
        raise TrainingError(name, "none are given", expected="at least one", remedy=remedy)
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise TrainingError(name, f"{twice!r:.60} is given twice", remedy="Leave one out")


def check_rates(rates: Mapping[str, Sequence[float]], methods: Sequence[str]) -> None:
    """Raise where rates are of a method that is not compared, or teach nothing."""
    known_keys(rates, METHODS, "rates", TrainingError)
    for method, given in rates.items():
        if method not in methods:
            raise TrainingError(f"rates.{method}", "would do nothing", remedy=f"Leave it out, or compare {method}")
        check_list(f"rates.{method}", given, may_be_empty=False)
        for rate in given:
            if finite_number(rate, f"rates.{method}", TrainingError) <= 0:
                what, remedy = f"{rate:g} teaches nothing", "Correct that rate, or leave it out"
                raise TrainingError(f"rates.{method}", what, expected="above 0", remedy=remedy)
