"""JSON as people write it: read strictly, and with the place named where it goes wrong."""

from __future__ import annotations

import json

from .errors import LoraCoreError


def read_json(text: str, where: str, expected: str, error: type[LoraCoreError]) -> object:
    """Return what JSON text stands for; an object that says two things of one key is refused too."""
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as fault:
        place = f"{fault.msg} at line {fault.lineno}, column {fault.colno}"
        raise error(where, f"not JSON: {place}", expected=expected) from None
    except (_DuplicateKeyError, RecursionError, ValueError) as fault:
        raise error(where, f"not usable JSON: {fault}", expected=expected) from None


class _DuplicateKeyError(Exception):
    """A JSON object that says two things of one key; Python would quietly take the last."""


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(key for key, _ in pairs if sum(other == key for other, _ in pairs) > 1)
        raise _DuplicateKeyError(f"the key {twice!r} twice in one object")
    return row
