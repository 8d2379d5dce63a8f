"""The table [compare] beside the keys of a training, as the configurations of all comparisons have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..checks import known_keys
from ..errors import TrainingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: The table beside the keys of a training.
TABLE = "compare"


def split_table(
    given: Mapping[str, Any], known: Collection[str], ours: Mapping[str, str], where: str
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the keys that all trainings have in common, and the table.

    Of `known` keys of a training `ours` are those that a comparison sets itself -> what says it instead.

    Raises:
        TrainingError: a key that nobody knows, or that a comparison sets itself; the table is none.
    """
    common = {key: value for key, value in given.items() if key != TABLE}
    table = given.get(TABLE, {})
    if not isinstance(table, Mapping):
        remedy = f"Write its keys under a line [{TABLE}]"
        raise TrainingError(where, f"{TABLE} is {table!r:.60}", expected=f"a table [{TABLE}]", remedy=remedy)
    known_keys(common, known, where, TrainingError)
    for key in common:
        if key in ours:
            raise TrainingError(key, "is set by the comparison itself", expected=ours[key], remedy="Leave it out")
    return common, table


def values_with_table(
    common: Mapping[str, Any], settings: DataclassInstance, rates: Mapping[str, Collection[float]]
) -> dict[str, Any]:
    """Return everything as TOML has it, the rates that nobody gave too."""
    table = asdict(settings) | {"rates": {method: list(tried) for method, tried in rates.items()}}
    return {**_as_lists(common), TABLE: _as_lists(table)}


def _as_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
