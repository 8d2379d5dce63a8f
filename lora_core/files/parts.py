"""The parts of one delta: the tensors a file gives for one target, found to be complete and to go together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..checks import shape_text
from ..errors import LoraFileError
from .account import Status
from .containers.tensorfile import TensorInfo
from .dialects import Label
from .faults import Heading
from .kinds import KINDS, Shape, is_by_input

REWRITE = "Use a complete file; this one was cut or written wrongly"

HALF = Heading(LoraFileError, "{n} target{s} {have} only some of the tensors that make a delta", remedy=REWRITE)
MISFIT = Heading(LoraFileError, "{n} target{s} {have} tensors that do not go together", remedy=REWRITE)
NOT_FLOATS = Heading(LoraFileError, "{n} target{s} {have} tensors that are not floating-point", remedy=REWRITE)
TWICE = Heading(LoraFileError, "{n} target{s} {are} given twice", remedy="Keep one of the two and remove the other")

#: Parts that go with a delta of any kind: its alpha and a DoRA magnitude.
_EXTRAS = ("scale", "dora")
_WITHOUT_FACTORS = ("full", "lora_bias")


class Unfit(Exception):
    """What makes the tensors of a target unusable; never leaves this package."""

    def __init__(self, heading: Heading, case: str, status: Status = "unmatched") -> None:
        super().__init__(case)
        self.heading = heading
        self.case = case
        self.status = status


@dataclass
class Group:
    """The tensors of one target, by (kind, field), as a file's names say."""

    labels: dict[tuple[str, str], Label] = field(default_factory=dict)

    def add(self, label: Label, key: tuple[str, str]) -> None:
        if key in self.labels:
            raise Unfit(TWICE, f"{label.target} by {self.labels[key].name} and {label.name}")
        self.labels[key] = label

    def names(self) -> list[str]:
        return [label.name for label in self.labels.values()]


@dataclass(frozen=True)
class Parts:
    """The tensors of one whole delta.

    Attributes:
        module: the module path as the file spells it, for patterns in a trainer's configuration.
        fields: field of the delta's class -> tensor name.
        rank: what alpha is divided by; None where the kind has no scale.
        alpha, magnitude: names of the tensors, or None.
    """

    target: str
    module: str
    kind: str
    fields: Mapping[str, str]
    rank: int | None
    alpha: str | None
    magnitude: str | None

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.fields.values(), *(name for name in (self.alpha, self.magnitude) if name))


def parts_of(target: str, group: Group, infos: Mapping[str, TensorInfo]) -> Parts | None:
    """Return the parts of a target's delta, or None when the group is an alpha that scales nothing."""
    alpha, magnitude = group.labels.get(("scale", "alpha")), group.labels.get(("dora", "magnitude"))
    kinds = list(dict.fromkeys(kind for kind, _ in group.labels if kind not in _EXTRAS))
    if len(kinds) > 1:
        raise Unfit(TWICE, f"{target} as {' and as '.join(kinds)}")
    if not kinds and magnitude is None:
        return None
    kind = kinds[0] if kinds else "lora"
    fields = {part: label.name for (of, part), label in group.labels.items() if of == kind}
    missing = KINDS[kind].missing(frozenset(fields))
    if missing:
        present = ", ".join(group.names())
        raise Unfit(HALF, f"{target} lacks {' and '.join(sorted(missing))} (there is {present})")
    shapes = {part: infos[name].shape for part, name in fields.items()}
    names = [*fields.values(), *([magnitude.name] if magnitude else [])]
    _check_values(target, names, infos)
    problem = KINDS[kind].check(shapes)
    if magnitude and kind in _WITHOUT_FACTORS:
        problem = "a DoRA magnitude beside a difference in full"
    if problem:
        raise Unfit(MISFIT, f"{target} ({problem})", "wrong_shape")
    return Parts(
        target,
        next(iter(group.labels.values())).place.module,
        kind,
        fields,
        KINDS[kind].rank(shapes),
        alpha.name if alpha else None,
        magnitude.name if magnitude else None,
    )


def check_magnitude(parts: Parts, weight: Shape, infos: Mapping[str, TensorInfo]) -> None:
    """Refuse a magnitude that has not one value per output, or per input, of a weight of this shape."""
    if parts.magnitude is None:
        return
    shape = infos[parts.magnitude].shape
    wanted = weight[1 if is_by_input(shape, weight, parts.magnitude) else 0]
    if math.prod(shape) != wanted:
        size = shape_text(shape, empty="one number")
        raise Unfit(
            MISFIT, f"{parts.target} (its magnitude is {size}, its weight has {wanted} channels)", "wrong_shape"
        )


def _check_values(target: str, names: Iterable[str], infos: Mapping[str, TensorInfo]) -> None:
    for name in names:
        info = infos[name]
        if not info.dtype.is_floating_point:
            raise Unfit(NOT_FLOATS, f"{name} ({str(info.dtype).removeprefix('torch.')})")
        if 0 in info.shape:
            raise Unfit(MISFIT, f"{target} ({name} is empty)", "wrong_shape")
