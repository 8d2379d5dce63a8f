"""Checks of values a user gives, each raising the caller's kind of error, in the words that errors are written in."""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, Union, get_args, get_origin

from .errors import LoraCoreError
from .wording import Said, joined, said

Settings = TypeVar("Settings")
Function = TypeVar("Function", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")


#: How many unknown keys a message names before it only counts them.
_NUM_KEYS_SHOWN = 8
#: How much JSON or text of ours a person writes, many times over.
MAX_TEXT_LENGTH = 1_000_000
_MAX_NAME_COMPARED = 200


def finite_number(value: object, where: str, error: type[LoraCoreError]) -> float:
    """Return `value` as a float, refusing what is no number, a boolean, infinite or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise error(
            where,
            said("{value!r} is not a number", value=value),
            expected="a finite real number",
            remedy="Give a number",
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise error(
            where,
            said("{number} is not finite", number=number),
            expected="a finite real number",
            remedy="Give a finite number",
        )
    return number


def whole_number(value: object, where: str, error: type[LoraCoreError], *, low: int, high: int | None = None) -> int:
    """Return `value` if it is a whole number from `low` to `high`."""
    if high is None:
        expected = said("at least {least}", least=low)
    elif low == high:
        expected = said("only {number}", number=low)
    else:
        expected = said("{low} to {high}", low=low, high=high)
    if isinstance(value, bool) or not isinstance(value, int):
        raise error(
            where, said("{value!r} is not a whole number", value=value), expected=expected, remedy="Give a whole number"
        )
    if value < low or (high is not None and value > high):
        raise error(
            where,
            said("{value} is out of range", value=value),
            expected=expected,
            remedy="Choose a number in that range",
        )
    return value


def number_in_text(text: str, where: str, error: type[LoraCoreError]) -> float:
    """Return the finite number that `text` spells."""
    try:
        return finite_number(float(text), where, error)
    except ValueError:
        raise error(
            where,
            said("{text!r:.60} is not a number", text=text.strip()),
            expected="a finite real number",
            remedy="Give a number",
        ) from None


def number_text(number: float) -> str:
    """Return the shortest text that reads back to exactly this number."""
    return repr(number).removesuffix(".0")


def shown(text: str, length: int = 60) -> str:
    """Return a text as a message quotes it, only the beginning of a long one."""
    return repr(text) if len(text) <= length else f"{text[:length]!r}…"


def one_line(text: str, length: int = 300) -> str:
    """Return the beginning of a text from outside as a terminal can show it: what no letter is, is spelt out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text.strip()[:length])


def shape_text(shape: Sequence[int], empty: str = "") -> str:
    """Write a shape as `128x64`; `empty` is what to call one without axes."""
    return "x".join(map(str, shape)) or empty


def first_few(cases: Iterable[str], num_shown: int = 3, *, between: Literal[", ", "; "] = ", ") -> Said:
    """Name the first few cases, and count the others: `a, b, c and 4 more`."""
    cases = list(cases)
    first = cases[:num_shown]
    text = joined("; ", first) if between == "; " else joined(", ", first)
    more = len(cases) - num_shown
    return said("{first} and {more} more", first=text, more=more) if more > 0 else text


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: 1 clip, 2 clips."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def time_text(seconds: float) -> str:
    """Return a time as clocks show it: 1:05, or 2:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def first_line(error: BaseException) -> str:
    """Return the first line of somebody else's error, without its full stop, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def known(value: object, choices: Iterable[str], where: str, error: type[LoraCoreError]) -> str:
    """Return `value` if it is one of `choices`, else name the nearest of them."""
    valid = list(choices)
    if isinstance(value, str) and value in valid:
        return value
    raise error(
        where,
        said("unknown value {value!r:.80}", value=value),
        expected=nearest(str(value), valid),
        remedy="Choose one that there is",
    )


def known_keys(keys: Iterable[str], valid: Iterable[str], where: str, error: type[LoraCoreError]) -> None:
    """Refuse every key outside `valid`, all in one message, each with the nearest valid key."""
    choices = list(valid)
    unknown = [key for key in keys if key not in choices]
    if unknown:
        names = first_few((f"{key!r:.60}" for key in unknown), _NUM_KEYS_SHOWN)
        expected = joined("; ", dict.fromkeys(nearest(key, choices) for key in unknown[:_NUM_KEYS_SHOWN]))
        raise error(
            where,
            said("unknown keys {names}" if len(unknown) > 1 else "unknown key {names}", names=names),
            expected=expected,
            remedy="Correct or remove it",
        )


def nearest(name: str, choices: Iterable[str]) -> Said:
    """Say which of `choices` was probably meant, or all of them when nothing is alike."""
    valid = list(choices)
    alike = difflib.get_close_matches(name[:_MAX_NAME_COMPARED].lower(), valid, n=1, cutoff=0.5)
    if alike:
        return said("nearest: {first!r}", first=alike[0])
    return said("one of {names}", names=", ".join(valid))


def whole_path(given: str, folder: Path) -> str:
    """Return the whole path of what is named, seen from a folder; `~` is the user's own."""
    return os.path.abspath(folder / os.path.expanduser(given))


def parse_json(
    text: str | bytes, where: str, expected: str, error: type[LoraCoreError], *, most: int = MAX_TEXT_LENGTH
) -> object:
    """Return what JSON text stands for; an object that says two things of one key is refused too.

    Bytes are taken in any Unicode encoding, with its mark or without: PowerShell writes UTF-16.
    """
    if len(text) > most:
        raise error(
            where,
            said("{count:,} letters of JSON", count=len(text)),
            expected=said("at most {most:,}", most=most),
            remedy="Shorten it",
        )
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as fault:
        place = said("{what} at line {line}, column {column}", what=fault.msg, line=fault.lineno, column=fault.colno)
        raise error(
            where, said("not JSON: {place}", place=place), expected=expected, remedy="Correct the text"
        ) from None
    except (_DuplicateKeyError, RecursionError, ValueError) as fault:  # UnicodeDecodeError, too
        raise error(
            where, said("not usable JSON: {fault}", fault=fault), expected=expected, remedy="Correct the text"
        ) from None


class _DuplicateKeyError(Exception):
    """A JSON object that says two things of one key; Python would quietly take the last."""


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _DuplicateKeyError(f"the key {twice!r:.60} twice in one object")
    return row


def typed(error: type[LoraCoreError]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function refuse arguments that are of another kind than its annotations say.

    Numbers of any kind pass for numbers: whether they are whole, finite and in range is the function's to say.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            plain: Any = inspect.unwrap(function)
            names = plain.__code__.co_varnames[: plain.__code__.co_argcount]
            for name, value in (*zip(names, args, strict=False), *kwargs.items()):
                kind = _kinds(plain).get(name, Any)
                if not _is_a(value, kind):
                    expected = str(plain.__annotations__[name]).replace(" | ", " or ")
                    where = plain.__qualname__.removesuffix(".__init__")
                    raise error(
                        where,
                        said("{name} is {value!r:.60}", name=name, value=value),
                        expected=expected,
                        remedy="Give it another value",
                    )
            return function(*args, **kwargs)

        return checked

    return decorate


@functools.cache
def _kinds(function: Any) -> dict[str, Any]:
    """Return what the arguments of a function have to be, but for those whose annotation is for type checkers alone."""
    kinds = {}
    for name, annotation in function.__annotations__.items():
        with suppress(NameError, AttributeError, TypeError):
            kinds[name] = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
    return kinds


def _is_a(value: object, kind: Any) -> bool:
    """Say whether a value is of the kind that an annotation names, as far as that can be told without using it."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if origin in (Union, UnionType):
        return any(_is_a(value, choice) for choice in inner)
    if origin is Literal:
        return isinstance(value, tuple({type(choice) for choice in inner}))
    if kind in (int, float, bool):
        return isinstance(value, Real) or getattr(value, "ndim", None) == 0
    if origin in (Sequence, Iterable):
        if isinstance(value, (list, tuple)):
            return all(_is_a(item, inner[0]) for item in value)
        return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    if origin is Callable:
        return callable(value)
    if getattr(kind, "_is_protocol", False):
        names = {name for base in kind.__mro__ if base not in (Protocol, Generic, object) for name in vars(base)}
        return all(hasattr(value, name) for name in names if not name.startswith("_"))
    wanted = {Path: os.PathLike, tuple: (list, tuple), None: NoneType}.get(origin or kind, origin or kind)
    return isinstance(value, wanted) if isinstance(wanted, (type, tuple)) else True


def showing_settings(kind: type) -> Callable[[Function], Function]:
    """Let a function that takes the settings of a dataclass by name show each of them in its signature."""

    def decorate(function: Function) -> Function:
        shown = inspect.signature(function)
        own = [p for p in shown.parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {p.name for p in own}
        settings = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in fields(kind)
            if field.name not in taken
        ]
        function.__signature__ = shown.replace(parameters=[*own, *settings])  # type: ignore[attr-defined]  # PEP 362's
        return function

    return decorate


def from_settings(kind: type[Settings], named: Mapping[str, Any], where: str, error: type[LoraCoreError]) -> Settings:
    """Build a dataclass of settings from their names and values; a name it does not have is refused."""
    known_keys(named, [field.name for field in fields(kind)], where, error)  # type: ignore[arg-type]  # a dataclass
    return kind(**named)
