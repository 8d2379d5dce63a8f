"""The matrices that the LoRAs of one expert change, each with what every LoRA does to it.

Letters: O outputs, I inputs (times the kernel of a convolution), R the rank of one change.
Dtype policy: changes in float32. A bias, a norm or a bare table is no matrix, and is not counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ..apply.base_weights import base_form
from ..apply.factors import matrix_shape
from ..apply.layers import multiplies
from ..checks import shape_text
from ..deltas import Delta, Dora, Placed, fits, thin_factors
from ..errors import LoraMismatchError
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..files.weights import outlines_of
from ..plan.route import RoutedLora
from ..wording import said


@dataclass(frozen=True, eq=False)
class Thin:
    """A change as a product of thin matrices, `up @ down`; all scales are in `up`.

    Attributes:
        down: (R, I).
        up: (O, R).
    """

    down: Tensor
    up: Tensor


#: What a LoRA does to a matrix (O, I) at strength 1: thin, or in full.
Change = Thin | Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """One matrix of an expert.

    Attributes:
        target: its name, whatever the network calls it.
        shape: (O, I).
        path: the module that has it, "" where no network is known.
        terms: place of a LoRA among those of its expert -> reads its change, and the target filter's factor on it.
        read_base: reads the base's weight (O, I) in float32; None where no network is known.
    """

    target: str
    shape: tuple[int, int]
    path: str
    terms: Mapping[int, tuple[tuple[Callable[[], Delta], float], ...]]
    read_base: Callable[[], Tensor] | None

    def changes(self, device: torch.device | str = "cpu") -> dict[int, Change]:
        """Read what each LoRA does to it; what cannot be known without the base is left out, see `unknown`."""
        read = partial(_without_base) if self.read_base is None else self.read_base
        found = {}
        for index, terms in self.terms.items():
            changes = [_change(delta(), factor, self.shape, read, torch.device(device)) for delta, factor in terms]
            if known := [change for change in changes if change is not None]:
                found[index] = _sum(known)
        return found


def layers_of(loras: Sequence[RoutedLora], spec: ModelSpec, network: nn.Module | None = None) -> list[Layer]:
    """Return the matrices that LoRAs of one expert change, in the order in which the LoRAs name them.

    Args:
        loras: those routed to the expert.
        spec: what the model is called.
        network: the expert's network, its weights in any form that `apply.base_weights` knows; never written.
    """
    found: dict[str, dict[int, list[tuple[Callable[[], Delta], float]]]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for index, lora in enumerate(loras):
        for target, outline in outlines_of(lora.deltas).items():
            if (factor := lora.factors.get(target, 1.0)) == 0:
                continue
            section = spec.sections.get(target)
            whole = target if section is None else section.whole
            shape = spec.shapes.get(whole, UNKNOWN_SHAPE) or shapes.get(whole, outline.shape)
            if section is None and not fits(outline.shape, shape):
                raise _of_another_size(lora.name, target, outline.shape, shape)
            shapes[whole] = shape
            read = partial(_read, lora.deltas, target, spec)
            found.setdefault(whole, {}).setdefault(index, []).append((read, factor))
    return [
        _layer(target, matrix_shape(shapes[target]), terms, spec, network)
        for target, terms in found.items()
        if min(matrix_shape(shapes[target])) > 1 and not target.endswith(".bias")
    ]


def _of_another_size(name: str, target: str, shape: Sequence[int], other: Sequence[int]) -> LoraMismatchError:
    what = said(
        "its change of {target} is {shape}, and another LoRA of the stack has {other} there",
        target=target,
        shape=shape_text(shape),
        other=shape_text(other),
    )
    return LoraMismatchError(name, what, remedy="Put LoRAs of one model into a stack")


def num_left_out(loras: Sequence[RoutedLora], layers: Sequence[Layer]) -> int:
    """Return how many changes of the LoRAs lie outside these matrices: those of biases, norms and tables."""
    inside = sum(len(terms) for layer in layers for terms in layer.terms.values())
    return sum(factor != 0 for lora in loras for factor in lora.factors.values()) - inside


def _layer(
    target: str,
    shape: tuple[int, int],
    terms: Mapping[int, list[tuple[Callable[[], Delta], float]]],
    spec: ModelSpec,
    network: nn.Module | None,
) -> Layer:
    path, read_base = "", None
    if network is not None:
        path, parameter = spec.parameter_path(target, network)
        read_base = partial(_read_base, network.get_submodule(path), parameter, shape)
    return Layer(target, shape, path, {index: tuple(own) for index, own in terms.items()}, read_base)


def _read(deltas: Mapping[str, Delta], target: str, spec: ModelSpec) -> Delta:
    """Read a change; that of a section as one of the whole parameter."""
    section = spec.sections.get(target)
    if section is None:
        return deltas[target]
    return Placed(deltas[target], spec.shapes[section.whole], section.first, section.order)


@torch.no_grad()
def _read_base(owner: nn.Module, parameter: str, shape: tuple[int, int]) -> Tensor:
    if parameter == "weight" and multiplies(owner):
        weight = base_form(owner).read(owner, torch.float32)
    else:
        weight = owner.get_parameter(parameter).detach().float()
    return weight.reshape(shape)


class UnknownBaseError(Exception):
    """A change depends on a base that is not known."""


def _without_base() -> Tensor:
    raise UnknownBaseError


@torch.no_grad()
def _change(
    delta: Delta, factor: float, shape: tuple[int, int], read_base: Callable[[], Tensor], device: torch.device
) -> Change | None:
    """Return one change as the thinnest form it has; None where it depends on a base that is not known.

    Of a DoRA without its base, the low-rank part inside stands for the whole.
    """
    base = None
    if delta.needs_base:
        try:
            base = read_base().to(device)
        except UnknownBaseError:
            if (inner := _inside(delta)) is None:
                return None
            delta = inner
    delta = delta.to(device)
    own = None if base is None else base.reshape(delta.shape)
    if (pair := thin_factors(delta, own)) is None:
        return delta.dense(own).reshape(shape) * factor
    down, up = pair
    return Thin(down, up * factor)


def _inside(delta: Delta) -> Delta | None:
    """Return the low-rank part of a DoRA, or None."""
    if isinstance(delta, Placed):
        inner = _inside(delta.inner)
        return None if inner is None else replace(delta, inner=inner)
    return delta.inner if isinstance(delta, Dora) and not delta.inner.needs_base else None


def _sum(changes: Sequence[Change]) -> Change:
    """Return several changes of one matrix as one: sections of a LoRA, which stand below each other."""
    if len(changes) == 1:
        return changes[0]
    thin = [change for change in changes if isinstance(change, Thin)]
    if len(thin) == len(changes):
        return Thin(torch.cat([c.down for c in thin]), torch.cat([c.up for c in thin], dim=1))
    whole = [c.up @ c.down if isinstance(c, Thin) else c for c in changes]
    return torch.stack(whole).sum(dim=0)
