"""The option `--set key=value`: any field of a dataclass of settings, by the name it has there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import click

from ..checks import known_keys, nearest, number_in_text
from ..errors import LoraCoreError

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

set_option = click.option(
    "--set", "given", multiple=True, metavar="KEY=VALUE", help="Any setting by its name; repeat for several."
)


def settings_from(given: Sequence[str], kind: type, error: type[LoraCoreError]) -> dict[str, Any]:
    """Read `key=value` texts as values of the fields of a dataclass, each of the type of its field's default."""
    defaults = {field.name: field.default for field in fields(kind)}
    values: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise error("--set", f"{text!r:.80} sets nothing", expected="KEY=VALUE")
        known_keys([key], defaults, "--set", error)
        if key in values:
            raise error("--set", f"{key!r} is set twice", remedy="Leave one out")
        values[key] = _READERS[type(defaults[key])](value.strip(), key, error)
    return values


def _truth(text: str, key: str, error: type[LoraCoreError]) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise error(key, f"{text!r:.60} is neither true nor false", expected=nearest(text, ("true", "false")))
    return text.lower() in _TRUE


def _whole(text: str, key: str, error: type[LoraCoreError]) -> int:
    number = number_in_text(text, key, error)
    if number != math.floor(number):
        raise error(key, f"{text!r:.60} is not a whole number")
    return int(number)


#: Type of a field -> how its value is spelt.
_READERS: Mapping[type, Callable[[str, str, type[LoraCoreError]], Any]] = {
    str: lambda text, key, error: text,
    bool: _truth,
    int: _whole,
    float: number_in_text,
    tuple: lambda text, key, error: tuple(part.strip() for part in text.split(",") if part.strip()),
}
