"""The errors a user can meet, every one in the same form: where, what is wrong, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .wording import Said, form_of, joined, plain, said


class LoraCoreError(Exception):
    """`<where>: <what> (<expected>). <remedy>`, the base of every error this package raises on purpose.

    Args:
        where: the file, node or argument at fault, as the user knows it.
        what: what is wrong, with the offending value in it.
        expected: what was expected instead, or the nearest valid value.
        remedy: what to do now, an imperative sentence without its full stop.
    """

    def __init__(self, where: object, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.where = where if isinstance(where, str) else str(where)
        self.what = what
        self.expected = expected
        self.remedy = remedy
        super().__init__(str(self.said))

    @property
    def said(self) -> Said:
        """The whole message, with the phrases and values it is made of."""
        place, what = _beginning(self.where), _beginning(plain(self.what))
        expected, remedy = _beginning(plain(self.expected)), plain(self.remedy)
        parts = {"where": place, "what": what}
        if expected and remedy:
            return said("{where}: {what} ({expected}). {remedy}.", expected=expected, remedy=remedy, **parts)
        if expected:
            return said("{where}: {what} ({expected}).", expected=expected, **parts)
        return (
            said("{where}: {what}. {remedy}.", remedy=remedy, **parts) if remedy else said("{where}: {what}.", **parts)
        )

    def retold(self, change: Callable[[str], str]) -> LoraCoreError:
        """Return the same error with each of its texts changed."""
        other = type(self).__new__(type(self))  # some are built of other things than their texts
        vars(other).update(vars(self))
        where, what, expected, remedy = map(change, (self.where, self.what, self.expected, self.remedy))
        LoraCoreError.__init__(other, where, what, expected=expected, remedy=remedy)
        return other

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, from which `error_from` makes it again in another process."""
        parts = {"where": self.where, "what": self.what, "expected": self.expected, "remedy": self.remedy}
        forms = {name: form_of(text) for name, text in parts.items() if isinstance(text, Said)}
        return {"kind": type(self).__name__, **parts, "forms": forms}


#: A value longer than this was no value, and nobody reads on.
_MAX_LENGTH = 1500


def _beginning(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


class LoraFileError(LoraCoreError):
    """A LoRA file that cannot be read or written: damaged, empty, unsafe, incomplete."""


class UnsupportedLoraError(LoraCoreError):
    """A LoRA file of a kind that is known by name and not supported."""


class LoraMismatchError(LoraCoreError):
    """A sound LoRA file that does not fit the model: wrong shapes, unknown targets, nothing applied."""


class StackError(LoraCoreError):
    """A stack or preset that contradicts itself or points outside the LoRA folders."""


class PlanError(LoraCoreError):
    """Sampling settings that cannot work: steps, boundary, shift, or an expert left without a step."""


class ModelError(LoraCoreError):
    """A model that cannot be opened: a missing piece, an unknown architecture, a wrong size."""


class RequestError(LoraCoreError):
    """A generation request out of range: size, frames, prompt, image, output path."""


class OutputError(LoraCoreError):
    """A result that could not be written: read-only folder, full disk, unknown format."""


class DatasetError(LoraCoreError):
    """Training clips or captions that cannot be used."""


class TrainingError(LoraCoreError):
    """A training run that cannot start, go on or be resumed."""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` before the place that an error of ours inside names."""
    with relocated(lambda inner: joined(" ", [where, inner]) if inner else where):
        yield


@contextmanager
def relocated(change: Callable[[str], str]) -> Iterator[None]:
    """Let an error of ours inside name `change` of its place, as its reader knows that."""
    try:
        yield
    except LoraCoreError as error:
        where = change(error.where)
        raise type(error)(where, error.what, expected=error.expected, remedy=error.remedy) from error


def error_from(told: Mapping[str, Any]) -> LoraCoreError:
    """Return the error that `to_dict` has told of; of a kind that is not here, the common one.

    Raises:
        KeyError: something else was told.
    """
    kind = globals().get(told["kind"])
    known = kind if isinstance(kind, type) and issubclass(kind, LoraCoreError) else LoraCoreError
    forms = told.get("forms", {})
    parts = {name: Said(told[name], forms[name]) if name in forms else told[name] for name in _PARTS}
    return known(parts.pop("where"), parts.pop("what"), **parts)


_PARTS = ("where", "what", "expected", "remedy")
