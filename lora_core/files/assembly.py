"""The assembly of a file's tensors into the blueprints of its deltas, with an account of all and a list of faults."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..deltas import Delta
from ..errors import LoraFileError, LoraMismatchError, UnsupportedLoraError
from ..experts import Expert
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from .account import Account, Status, TensorRecord
from .blueprint import Blueprint
from .containers.tensorfile import TensorFile
from .dialects import Label, label_all, locate
from .faults import Faults, Heading, counted
from .origin import foreign_model, wan_width
from .parts import REWRITE, Group, Parts, Unfit, check_magnitude, parts_of
from .scale import Scale, scale_beside, scale_from_metadata
from .verdict import check_shape, judge_nothing_applied, judge_size

UNSUPPORTED_KIND = Heading(UnsupportedLoraError, "{n} tensor{s} {are} of a kind that is not supported")
UNMATCHED = Heading(
    LoraMismatchError,
    "{n} tensor{s} {match} nothing in the model",
    remedy="Switch allow_partial on to apply the others",
    partial=True,
)
BAD_ALPHA = Heading(
    LoraFileError,
    "{n} alpha{s} cannot be used",
    expected="an alpha is one finite number other than 0",
    remedy=REWRITE,
)

#: A place in the result: the expert (None in a file that is not divided by experts) and the target.
Place = tuple[Expert | None, str]


class Fate(NamedTuple):
    """What became of one tensor; the account adds what the header knows of it."""

    status: Status
    target: str | None
    reason: str = ""
    nearest: str | None = None


@dataclass
class Ledger:
    """The fates of tensors and the faults of the file while it is assembled."""

    fates: dict[str, Fate] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)

    def write(self, names: list[str] | tuple[str, ...], fate: Fate) -> None:
        self.fates.update(dict.fromkeys(names, fate))

    def refuse(self, names: list[str] | tuple[str, ...], target: str | None, unfit: Unfit) -> None:
        self.faults.add(unfit.heading, unfit.case)
        self.write(names, Fate(unfit.status, target, counted(unfit.heading.text, 1)))


@dataclass(frozen=True)
class Assembly:
    """What a file's header and its alphas tell, for the model of a spec.

    Attributes:
        blueprints, outlines: by place; an outline is a delta without values.
        width: the width of the Wan transformer that the deltas belong to, or None.
    """

    file: TensorFile
    labels: tuple[Label, ...]
    blueprints: Mapping[Place, Blueprint]
    outlines: Mapping[Place, Delta]
    account: Account
    faults: Faults
    notes: tuple[str, ...]
    width: int | None

    @property
    def dialect(self) -> str:
        """The dialect of most tensors."""
        named = Counter(found.place.prefix.dialect if found.place.prefix else "bare" for found in self.labels)
        return named.most_common(1)[0][0]


def assemble(file: TensorFile, spec: ModelSpec) -> Assembly:
    """Give every tensor of a file its place; faults are collected, only broken configurations are raised at once."""
    ledger = Ledger()
    labels = label_all(file.infos, spec)
    parts = _find_parts(_group(labels, spec, ledger), file, ledger)
    scales, notes = _scales(file, parts, ledger)
    blueprints: dict[Place, Blueprint] = {}
    outlines: dict[Place, Delta] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for place in scales:
        blueprint, outline = _outline(parts[place], scales[place], file, spec)
        shapes[place[1]] = outline.shape
        try:
            check_shape(place[1], outline, spec)
            check_magnitude(parts[place], outline.shape, file.infos)
        except Unfit as unfit:
            ledger.refuse(parts[place].names, place[1], unfit)
        else:
            blueprints[place], outlines[place] = blueprint, outline
    if not blueprints and all(heading.partial for heading in ledger.faults.cases):
        judge_nothing_applied(ledger.faults, spec, tuple(file.infos))
    judge_size(ledger.faults, spec, shapes, len(blueprints))
    account = Account(tuple(_record(name, file, ledger.fates[name]) for name in file.infos))
    return Assembly(file, labels, blueprints, outlines, account, ledger.faults, notes, wan_width(shapes))


def _group(labels: tuple[Label, ...], spec: ModelSpec, ledger: Ledger) -> dict[Place, Group]:
    """Gather the tensors of each target; what has no target is written into the ledger."""
    groups: dict[Place, Group] = {}
    has_experts = any(found.place.expert for found in labels)
    unknown = [found.name for found in labels if found.target is None]
    # Suggestions for the names of another model would be slow and wrong.
    suggests = len(unknown) * 2 < len(labels) or not foreign_model(unknown)
    for found in labels:
        if found.leaf is None or found.target is None or found.target not in spec.shapes:
            _explain(found, spec, ledger, suggests)
            continue
        # Beside transformer_2, plain `transformer` is the first transformer: the high-noise expert.
        expert = found.place.expert or ("high_noise" if has_experts else None)
        try:
            groups.setdefault((expert, found.target), Group()).add(found, (found.leaf.kind, found.leaf.field))
            ledger.fates[found.name] = Fate("applied", found.target)
        except Unfit as unfit:
            ledger.refuse([found.name], found.target, unfit)
    return groups


def _explain(found: Label, spec: ModelSpec, ledger: Ledger, suggests: bool) -> None:
    """Write down why a tensor has no target in this model."""
    if found.unsupported:
        ledger.faults.add(UNSUPPORTED_KIND, f"{found.unsupported}, by {found.name}")
        ledger.write([found.name], Fate("unmatched", None, f"{found.unsupported} is not supported"))
        return
    absent = None if found.target is None else spec.why_absent(found.target)
    if absent:
        ledger.write([found.name], Fate("not_applicable", found.target, absent))
        return
    reason, nearest = _why_unmatched(found, spec, suggests)
    ledger.faults.add(UNMATCHED, f"{found.name} ({f'nearest {nearest}' if nearest else reason})")
    ledger.write([found.name], Fate("unmatched", None, reason, nearest))


def _why_unmatched(found: Label, spec: ModelSpec, suggests: bool) -> tuple[str, str | None]:
    """Return (why no target of the model has this name, the nearest one)."""
    if found.leaf is None:
        stem = found.name.removesuffix(".weight").removesuffix(".bias")
        if stem != found.name and locate(stem, spec).path is not None:
            return "a whole weight, not the change of one", None
        return "its ending is no part of a known LoRA", None
    if found.target is None:
        return "the model has no such module", spec.nearest(found.place.module) if suggests else None
    return f"the module has no such {'bias' if found.target.endswith('.bias') else 'parameter'}", found.place.path


def _find_parts(groups: Mapping[Place, Group], file: TensorFile, ledger: Ledger) -> dict[Place, Parts]:
    """Return the groups that are whole deltas; the others are written into the ledger."""
    whole: dict[Place, Parts] = {}
    for place, group in groups.items():
        try:
            parts = parts_of(place[1], group, file.infos)
        except Unfit as unfit:
            ledger.refuse(group.names(), place[1], unfit)
            continue
        if parts is None:
            ledger.write(group.names(), Fate("not_applicable", place[1], "an alpha with no tensors to scale"))
        else:
            whole[place] = parts
    return whole


def _scales(
    file: TensorFile, parts: Mapping[Place, Parts], ledger: Ledger
) -> tuple[dict[Place, float], tuple[str, ...]]:
    """Return (the scale of every delta whose alpha is sound, what is to be noted about it)."""
    unstated = {place: found for place, found in parts.items() if found.alpha is None and found.kind != "full"}
    stated, note = _file_scales(file, unstated)
    alphas = file.read_numbers(
        found.alpha for found in parts.values() if found.alpha and math.prod(file.infos[found.alpha].shape) == 1
    )
    scales: dict[Place, float] = {}
    for place, found in parts.items():
        try:
            scales[place] = _scale_of(place, parts, alphas, stated)
        except Unfit as unfit:
            ledger.refuse(found.names, place[1], unfit)
        if found.alpha and found.rank is None:
            reason = "its delta is stored in full and has no rank to divide an alpha by"
            ledger.write([found.alpha], Fate("not_applicable", place[1], reason))
    return scales, (note,) if note else ()


def _file_scales(
    file: TensorFile, unstated: Mapping[Place, Parts]
) -> tuple[Callable[[Expert | None], Scale | None], str]:
    """Return (expert -> the scale that something else than an alpha tensor states, a note if one was passed over)."""
    if not unstated:
        return lambda expert: None, ""
    names = [name for found in unstated.values() for name in found.names]
    from_kohya = any(sign in name for name in names for sign in ("lora_down", "hada_", "lokr_"))
    high, low = (scale_from_metadata(file, from_kohya=from_kohya, low_noise=low_noise) for low_noise in (False, True))
    note = ""
    if high is None:
        ranks = {found.module: found.rank for found in unstated.values() if found.rank is not None}
        high, note = scale_beside(file, ranks)
        low = high
    return lambda expert: low if expert == "low_noise" else high, note


def _scale_of(
    place: Place,
    parts: Mapping[Place, Parts],
    alphas: Mapping[str, float],
    stated: Callable[[Expert | None], Scale | None],
) -> float:
    """Return the scale of one delta: alpha / rank, from the surest source there is."""
    found = parts[place]
    if found.kind == "full":
        return 1.0
    if found.kind == "lora_bias":  # PEFT scales the bias of lora_B with the product
        owner = (place[0], place[1].removesuffix(".bias"))
        if owner in parts:
            return _scale_of(owner, parts, alphas, stated)
    if found.alpha is not None:
        return 1.0 if found.rank is None else _usable(found.alpha, alphas) / found.rank
    scale = stated(place[0])
    return 1.0 if scale is None else scale.of(found.module, found.rank)


def _usable(name: str, alphas: Mapping[str, float]) -> float:
    """Return the value of an alpha tensor, which may be of any type and number of axes but holds one number."""
    if name not in alphas:
        raise Unfit(BAD_ALPHA, f"{name} is not a single number")
    if not math.isfinite(alphas[name]) or alphas[name] == 0:
        raise Unfit(BAD_ALPHA, f"{name} is {alphas[name]:g}")
    return alphas[name]


def _outline(parts: Parts, scale: float, file: TensorFile, spec: ModelSpec) -> tuple[Blueprint, Delta]:
    shape = tuple(spec.shapes[parts.target])
    blueprint = Blueprint(
        parts.target, parts.kind, parts.fields, parts.magnitude, scale, None if shape == UNKNOWN_SHAPE else shape
    )
    return blueprint, blueprint.outline(file.infos)


def _record(name: str, file: TensorFile, fate: Fate) -> TensorRecord:
    info = file.infos[name]
    dtype = str(info.dtype).removeprefix("torch.")
    return TensorRecord(name, fate.status, fate.target, info.shape, dtype, fate.reason, fate.nearest)
