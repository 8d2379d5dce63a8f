"""The agreement of what is said of a LoRA with its file and with the model it is for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..checks import first_few, nearest, number_text
from ..errors import LoraMismatchError
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..families.registry import find_family
from ..wording import said
from .assembly import Assembly
from .stated import StatedLora

_REMEDY = "State what it was trained with, or nothing: the file says it"


def check_stated(stated: StatedLora, assembly: Assembly) -> None:
    """Refuse what the file or the model contradicts.

    Raises:
        LoraMismatchError: another rank or alpha; a module that the model lacks, that has no LoRA in the file, or that
            has one and was not stated.
    """
    own = [parts for parts in assembly.parts.values() if parts.rank is not None]
    _check_number(assembly, "rank", stated.rank, [float(parts.rank or 0) for parts in own])
    _check_number(assembly, "alpha", stated.alpha, [parts.scale * (parts.rank or 0) for parts in own])
    if stated.target_modules:
        _check_modules(stated.target_modules, assembly)


def layers_of(spec: ModelSpec) -> list[str]:
    """Return the targets that a LoRA can act on: weights of two axes or more, and all where shapes are not known."""
    return [t for t, shape in spec.shapes.items() if not t.endswith(".bias") and (shape == UNKNOWN_SHAPE or shape[1:])]


def named_by(name: str, targets: Iterable[str], spec: ModelSpec) -> list[str]:
    """Return the targets whose path, native or diffusers', is a name or ends in it behind a dot."""
    family = find_family(spec)
    spell = (lambda target: target) if family is None else family.naming.to_diffusers
    return [t for t in targets if any(f".{path}".endswith(f".{name}") for path in (t, spell(t)))]


def _check_number(assembly: Assembly, which: str, wanted: float | None, found: Sequence[float]) -> None:
    """Refuse a stated rank or alpha that some layer does not have; numbers come as quotients and products."""
    others = sorted({number for number in found if wanted is not None and not math.isclose(number, wanted)})
    if wanted is None or not others:
        return
    texts = {"found": first_few(number_text(round(number, 6)) for number in others), "wanted": number_text(wanted)}
    what = (
        said("its rank is {found}, and rank {wanted} was stated", **texts)
        if which == "rank"
        else said("its alpha is {found}, and alpha {wanted} was stated", **texts)
    )
    raise LoraMismatchError(assembly.file.path, what, remedy=_REMEDY)


def _check_modules(names: Sequence[str], assembly: Assembly) -> None:
    """Refuse stated modules that the model or the file lacks, and those of the file that were not stated."""
    spec, path = assembly.spec, assembly.file.path
    in_model, in_file = layers_of(spec), [address.target for address in assembly.parts]
    unknown = [name for name in names if not named_by(name, in_model, spec)]
    if unknown:
        what = said("target modules that {model} does not have: {names}", model=spec.title, names=first_few(unknown))
        expected = nearest(unknown[0], _short_names(in_model, spec))
        remedy = "Correct the names, or state none: the file says which layers it changes"
        raise LoraMismatchError(path, what, expected=expected, remedy=remedy)
    absent = [name for name in names if not named_by(name, in_file, spec)]
    if absent:
        what = said("it has no LoRA on these target modules: {names}", names=first_few(absent))
        expected = said("one on {names}", names=first_few(module_names(in_file, spec), 8))
        raise LoraMismatchError(path, what, expected=expected, remedy=_REMEDY)
    matched = {target for name in names for target in named_by(name, in_file, spec)}
    if rest := [target for target in in_file if target not in matched]:
        what = said(
            "{count} of its {all} layers are of modules that were not stated: {names}",
            count=len(rest),
            all=len(in_file),
            names=first_few(module_names(rest, spec), 8),
        )
        raise LoraMismatchError(path, what, remedy=_REMEDY)


def module_names(targets: Iterable[str], spec: ModelSpec) -> list[str]:
    """Return the paths inside their blocks of targets, each once; of those outside blocks the whole path."""
    return list(dict.fromkeys(block[1] if (block := spec.block_of(t)) else t for t in targets))


def _short_names(targets: Iterable[str], spec: ModelSpec) -> list[str]:
    """Return the ends of targets' paths, as people name modules, each once; a number keeps what it numbers."""
    paths = [path.split(".") for path in module_names(targets, spec)]
    return list(dict.fromkeys(".".join(path[-2:] if path[-1].isdigit() else path[-1:]) for path in paths))
