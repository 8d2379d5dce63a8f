"""Wishes about radial attention: what a person says of it; the rest is what is usual for the model and the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..checks import known_keys, number_in_text, typed
from ..errors import PlanError, RequestError
from ..families.base import ModelSpec
from ..wording import said
from .dense import DenseRule
from .executors import ExecutorName
from .settings import RadialSettings, usual_radial

USUAL = "usual"


@dataclass(frozen=True)
class RadialWishes:
    """Settings of radial attention as far as they are not the usual ones; None is usual.

    Attributes:
        decay, block_size, executor: as in `RadialSettings`.
        first_steps, last_steps, first_blocks: as in `DenseRule`.

    Raises:
        RequestError, PlanError: a value is out of its range.
    """

    decay: float | None = None
    first_steps: int | float | None = None
    last_steps: int | float | None = None
    first_blocks: int | float | None = None
    block_size: int | None = None
    executor: ExecutorName = "auto"

    def __post_init__(self) -> None:
        self._on(RadialSettings())

    @typed(RequestError)
    def settings(self, spec: ModelSpec, num_latent_frames: int) -> RadialSettings:
        """Return the settings for a model and a length."""
        return self._on(usual_radial(spec, num_latent_frames))

    def _on(self, usual: RadialSettings) -> RadialSettings:
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        dense = {name: given.pop(name) for name in _DENSE if name in given}
        changed = replace(usual, dense=replace(usual.dense, **dense), **given)
        return changed if changed == replace(usual, executor=self.executor) else replace(changed, source="")

    @classmethod
    def parse(cls, text: str, where: str = "radial") -> RadialWishes:
        """Read "usual", or what differs from it: "decay=0.5,first=2,last=1,blocks=25%".

        Raises:
            RequestError, PlanError: it says something else, or one thing twice.
        """
        if text.strip() in (USUAL, ""):
            return cls()
        pairs = [part.partition("=") for part in text.split(",")]
        names = [name.strip() for name, _, _ in pairs]
        known_keys(names, _READ, where, RequestError)
        if len(set(names)) < len(names):
            raise RequestError(where, said("{text!r:.60} says one thing twice", text=text), remedy="Say each once")
        wishes: dict[str, Any] = {}
        for name, (_, _, value) in zip(names, pairs, strict=True):
            key, read = _READ[name]
            wishes[key] = read(value, name)
        return cls(**wishes)


def parse_part(text: str, where: str) -> int | float:
    """Read a number of steps or blocks ("2"), or a share of all of them ("0.25", "25%")."""
    stripped = text.strip()
    if stripped.isdecimal():
        return int(stripped)
    if stripped.endswith("%"):
        return number_in_text(stripped[:-1], where, PlanError) / 100
    return number_in_text(stripped, where, PlanError)


def _parse_decay(text: str, where: str) -> float:
    return number_in_text(text, where, RequestError)


def _parse_size(text: str, where: str) -> int | float:
    number = number_in_text(text, where, RequestError)
    return int(number) if number.is_integer() else number


_DENSE = tuple(field.name for field in fields(DenseRule))
#: How a text names a wish -> the field, and what reads its value.
_READ: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    "decay": ("decay", _parse_decay),
    "first": ("first_steps", parse_part),
    "last": ("last_steps", parse_part),
    "blocks": ("first_blocks", parse_part),
    "block_size": ("block_size", _parse_size),
    "executor": ("executor", lambda text, where: text.strip()),
}
