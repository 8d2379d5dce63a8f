"""The parts of one delta: the tensors a file gives for one target, found to be complete and to go together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import shape_text
from ..deltas import Delta, stacked
from ..errors import LoraFileError
from ..experts import Expert
from ..families.base import UNKNOWN_SHAPE
from .account import Status
from .containers.tensorfile import TensorFile, TensorInfo
from .dialects import Label
from .faults import Heading
from .kinds import KINDS, Shape, dora, is_by_input, share_of
from .values import checked

REWRITE = "Use a complete file; this one was cut or written wrongly"

HALF = Heading(LoraFileError, "{n} target{s} {have} only some of the tensors that make a delta", remedy=REWRITE)
MISFIT = Heading(LoraFileError, "{n} target{s} {have} tensors that do not go together", remedy=REWRITE)
NOT_FLOATS = Heading(LoraFileError, "{n} target{s} {have} tensors that are not floating-point", remedy=REWRITE)
TWICE = Heading(LoraFileError, "{n} target{s} {are} given twice", remedy="Keep one of the two and remove the other")

#: Parts that go with a delta of any kind: its alpha and a DoRA magnitude.
_EXTRAS = ("scale", "dora")
#: Kinds that are no factors whose norm a magnitude could replace.
_WITHOUT_MAGNITUDE: Mapping[str, str] = {
    "full": "a difference in full",
    "lora_bias": "a difference in full",
    "oft": "an orthogonal change",
    "set": "a replacement",
}


class Unfit(Exception):
    """What makes the tensors of a target unusable; never leaves this package."""

    def __init__(self, heading: Heading, case: str, status: Status = "unmatched") -> None:
        super().__init__(case)
        self.heading = heading
        self.case = case
        self.status = status


class Inapplicable(Exception):
    """Why a model rightly takes nothing of sound tensors; never leaves this package."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Address(NamedTuple):
    """Where a delta goes: an expert (None in a file that is not divided by experts) and a target."""

    expert: Expert | None
    target: str


#: (kind, field) -> the tensor of one address that the file's names give for it.
Group = dict[tuple[str, str], Label]


@dataclass(frozen=True)
class Parts:
    """The tensors of one whole delta, as a file holds them.

    Attributes:
        module: the module path as the file spells it, for patterns in a trainer's configuration.
        kind: a row of `KINDS`.
        fields: field of the delta's class -> tensor name.
        rank: what alpha is divided by; None where the kind has no scale.
        alpha, magnitude: names of the tensors, or None.
        target_shape: the shape of the target where the model states it, else None.
        scale: alpha / rank or what stands for it; 1 where nothing is said.
        share: (first, end) of its rows in a delta whose outputs are those of several targets; None for one of its own.
    """

    target: str
    module: str
    kind: str
    fields: Mapping[str, str]
    rank: int | None
    alpha: str | None
    magnitude: str | None
    target_shape: Shape | None
    scale: float = 1.0
    share: tuple[int, int] | None = None

    @property
    def each(self) -> tuple[Parts, ...]:
        """Itself; `JoinedParts` has several."""
        return (self,)

    @property
    def carriers(self) -> tuple[str, ...]:
        """The names of the tensors whose values make the delta: all but alpha."""
        return (*self.fields.values(), *((self.magnitude,) if self.magnitude else ()))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.carriers, *((self.alpha,) if self.alpha else ()))

    def build(self, read: Callable[[str], Tensor]) -> Delta:
        """Build the delta, or its share, from what `read` returns for its tensors' names."""
        whole = self.whole(read)
        return whole if self.share is None else share_of(whole, slice(*self.share))

    def whole(self, read: Callable[[str], Tensor]) -> Delta:
        tensors = {field: read(name) for field, name in self.fields.items()}
        delta = KINDS[self.kind].build(tensors, self.scale, self.target_shape)
        if self.magnitude is None:
            return delta
        magnitude = read(self.magnitude)
        by_input = is_by_input(tuple(magnitude.shape), delta.shape, self.magnitude)
        return dora(delta, magnitude, by_input=by_input)

    def build_checked(self, file: TensorFile) -> Delta:
        """Build the delta from a file's values, each of which must be finite."""
        return self.build(checked(file.read, file.path))

    def outline(self, infos: Mapping[str, TensorInfo]) -> Delta:
        """Build the delta without values, for its shape, rank and size."""
        return self.build(without_values(infos))


@dataclass(frozen=True)
class JoinedParts:
    """The parts of deltas whose outputs stand below each other in one fused parameter.

    Attributes:
        rows: (parts, how many of the parameter's rows they make); None where the file changes none of them.
    """

    target: str
    rows: tuple[tuple[Parts | None, int], ...]

    @property
    def each(self) -> tuple[Parts, ...]:
        """The parts of each delta that the file has."""
        return tuple(parts for parts, _ in self.rows if parts is not None)

    @property
    def carriers(self) -> tuple[str, ...]:
        """The names of the tensors whose values make the delta."""
        return tuple(name for parts in self.each for name in parts.carriers)

    def build(self, read: Callable[[str], Tensor]) -> Delta:
        """Build the delta from what `read` returns; a tensor of several parts is read once, and so known for one."""
        kept = cache(read)
        return stacked((None if parts is None else parts.build(kept), size) for parts, size in self.rows)

    def build_checked(self, file: TensorFile) -> Delta:
        """Build the delta from a file's values, each of which must be finite."""
        return self.build(checked(file.read, file.path))

    def outline(self, infos: Mapping[str, TensorInfo]) -> Delta:
        """Build the delta without values, for its shape, rank and size."""
        return self.build(without_values(infos))


def without_values(infos: Mapping[str, TensorInfo]) -> Callable[[str], Tensor]:
    """Return what reads the tensors of a file as shapes alone."""
    return lambda name: torch.empty(infos[name].shape, dtype=infos[name].dtype, device="meta")


def parts_of(target: str, group: Group, infos: Mapping[str, TensorInfo], shape: Shape) -> Parts | None:
    """Return the parts of the delta of a target of this shape, or None when there is only an alpha."""
    alpha, magnitude = group.get(("scale", "alpha")), group.get(("dora", "magnitude"))
    kinds = list(dict.fromkeys(kind for kind, _ in group if kind not in _EXTRAS))
    if len(kinds) > 1:
        raise Unfit(TWICE, f"{target} as {' and as '.join(kinds)}")
    if not kinds and magnitude is None:
        return None
    kind = kinds[0] if kinds else "lora"
    fields = {field: label.name for (of, field), label in group.items() if of == kind}
    missing = KINDS[kind].missing(frozenset(fields))
    if missing:
        present = ", ".join(label.name for label in group.values())
        raise Unfit(HALF, f"{target} lacks {' and '.join(sorted(missing))} (there is {present})")
    shapes = {field: infos[name].shape for field, name in fields.items()}
    _check_values(target, [*fields.values(), *([magnitude.name] if magnitude else [])], infos)
    _check_shapes(target, kind, shapes, has_magnitude=magnitude is not None)
    return Parts(
        target=target,
        module=next(iter(group.values())).place.module,
        kind=kind,
        fields=fields,
        rank=KINDS[kind].rank(shapes),
        alpha=alpha.name if alpha else None,
        magnitude=magnitude.name if magnitude else None,
        target_shape=None if shape == UNKNOWN_SHAPE else shape,
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
    """Refuse tensors that hold nothing, or no floating-point numbers."""
    for name in names:
        info = infos[name]
        if not info.dtype.is_floating_point:
            raise Unfit(NOT_FLOATS, f"{name} ({str(info.dtype).removeprefix('torch.')})")
        if 0 in info.shape:
            raise Unfit(MISFIT, f"{target} ({name} is empty)", "wrong_shape")


def _check_shapes(target: str, kind: str, shapes: Mapping[str, Shape], *, has_magnitude: bool) -> None:
    """Refuse tensors whose shapes make no delta together."""
    if has_magnitude and kind in _WITHOUT_MAGNITUDE:
        problem = f"a DoRA magnitude beside {_WITHOUT_MAGNITUDE[kind]}"
    else:
        problem = KINDS[kind].check(shapes)
    if problem:
        raise Unfit(MISFIT, f"{target} ({problem})", "wrong_shape")
