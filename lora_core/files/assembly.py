"""The assembly of a file's tensors into the parts of its deltas, with an account of all and a list of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..deltas import Delta
from ..errors import LoraMismatchError, UnsupportedLoraError
from ..families.base import ModelSpec
from ..families.family import Family
from ..families.registry import family_of_targets, find_family
from ..wording import said
from .account import Account
from .alpha import AlphaSource, scaled
from .base_weights import base_weights, is_whole_weight
from .bystanders import why_bystander
from .containers.tensorfile import TensorFile
from .dialects import Label, label_all, locate
from .faults import Faults, Heading
from .ledger import Ledger
from .origin import foreign_model, relative_of
from .parts import TWICE, Address, Group, Parts, Unfit, check_magnitude, parts_of
from .shares import shared_out
from .twofold import chosen
from .verdict import check_shape, is_base_checkpoint, judge_base_checkpoint, judge_nothing_applied, judge_size

UNSUPPORTED_KIND = Heading(
    UnsupportedLoraError, "{n} tensor{s} {are} of a kind that is not supported", remedy="Choose another LoRA"
)
UNMATCHED = Heading(
    LoraMismatchError,
    "{n} tensor{s} {match} nothing in the model",
    remedy="Switch allow_partial on to apply the others",
    partial=True,
)
#: Left out, such a tensor would make another LoRA of the one it is part of: of a DoRA a plain one.
STRANGE = Heading(
    UnsupportedLoraError,
    "{n} tensor{s} {have} an ending that is no part of a known LoRA",
    remedy="Write the file again with the tool that made it, as a LoRA of a known kind",
)


@dataclass(frozen=True)
class Assembly:
    """What a file's header and its alphas tell, for the model of a spec.

    Attributes:
        parts, outlines: by address, in the order of the model's targets; an outline is a delta without values.
        shapes: target -> shape of every delta the file holds, fitting or not, those of fused targets in one.
        base: the names of the base's own weights, in a post-trained checkpoint.
        alpha_source: who says the alpha of its deltas.
        family: the family of the spec, or of the targets where the spec has none; None if there is no such.
    """

    file: TensorFile
    spec: ModelSpec
    labels: tuple[Label, ...]
    parts: Mapping[Address, Parts]
    outlines: Mapping[Address, Delta]
    account: Account
    faults: Faults
    notes: tuple[str, ...]
    family: Family | None
    shapes: Mapping[str, tuple[int, ...]]
    base: frozenset[str] = frozenset()
    alpha_source: AlphaSource = "none"

    @property
    def dialect(self) -> str:
        """The dialect of most tensors."""
        named = Counter(label.place.prefix.dialect if label.place.prefix else "bare" for label in self.labels)
        return named.most_common(1)[0][0]

    @property
    def num_bytes(self) -> int:
        """How large the tensors of its deltas are."""
        names = {name for own in self.parts.values() for name in own.carriers}
        return sum(self.file.infos[name].num_bytes for name in names)


def assemble(file: TensorFile, spec: ModelSpec, *, alpha: float | None = None, average: bool = False) -> Assembly:
    """Give every tensor of a file its place; faults are collected, only broken configurations are raised at once.

    Args:
        file: the open file.
        spec: the model.
        alpha: of all deltas, where the file says none.
        average: take the moving average (EMA) of the LoRA, where the file has both.
    """
    ledger = Ledger(file.infos)
    everything = label_all(file.infos, spec)
    base = base_weights(everything, spec)
    ledger.write(base, "not_applicable", None, said("base weights: not read"))
    choice = chosen(tuple(label for label in everything if label.name not in base), file, average=average)
    labels = choice.labels
    for label in choice.others:
        ledger.write([label.name], "not_applicable", label.target, choice.why)
    family = find_family(spec) or family_of_targets(label.target for label in labels if label.target)
    complete = _complete(_groups(labels, spec, family, ledger), spec, ledger)
    parts, notes, alpha_source = scaled(complete, file, ledger, alpha)
    outlines = {address: own.outline(file.infos) for address, own in parts.items()}
    fitting = _fitting(parts, outlines, spec, family, ledger)
    if is_base_checkpoint(everything):
        judge_base_checkpoint(ledger.faults, len(everything))
    elif not fitting and all(heading.partial for heading in ledger.faults.cases):
        judge_nothing_applied(ledger.faults, spec, family, ledger.account())
    shapes = {address.target: outline.shape for address, outline in outlines.items()}
    judge_size(ledger.faults, spec, family, shapes, len(fitting))
    shared = _in_order(shared_out({address: parts[address] for address in fitting}, spec, ledger), spec)
    return Assembly(
        file=file,
        spec=spec,
        labels=labels,
        parts=shared,
        outlines={address: own.outline(file.infos) for address, own in shared.items()},
        account=ledger.account(),
        faults=ledger.faults,
        notes=(*filter(None, [choice.note]), *notes, *_unsaid(alpha_source, base)),
        family=family,
        shapes=shapes,
        base=base,
        alpha_source=alpha_source,
    )


def _unsaid(alpha_source: AlphaSource, base: frozenset[str]) -> list[str]:
    """Return that nobody says the alpha of a LoRA inside its base, where trainers write none."""
    return [said("nobody says its alpha: the rank is taken")] if base and alpha_source == "none" else []


def _groups(labels: tuple[Label, ...], spec: ModelSpec, family: Family | None, ledger: Ledger) -> dict[Address, Group]:
    """Gather the tensors of each address; what has no target is written into the ledger."""
    groups: dict[Address, Group] = {}
    has_experts = any(label.place.expert for label in labels)
    unknown = []
    for label in labels:
        if label.leaf is None or label.target is None or not spec.has(label.target):
            if not _pass_over(label, spec, ledger):
                unknown.append(label)
            continue
        # Beside transformer_2, plain `transformer` is the first transformer: the high-noise expert.
        address = Address(label.place.expert or ("high_noise" if has_experts else None), label.target)
        group, key = groups.setdefault(address, {}), (label.leaf.kind, label.leaf.field)
        if key in group:
            case = f"{label.target} by {group[key].name} and {label.name}"
            ledger.refuse([label.name], label.target, Unfit(TWICE, case))
            continue
        group[key] = label
        ledger.write([label.name], "applied", label.target)
    # Suggestions for the names of another model would be slow and wrong.
    names = [label.name for label in unknown]
    suggests = len(names) * 2 < len(labels) or not foreign_model(names, family)
    for label in unknown:
        _explain(label, spec, family, ledger, suggests)
    return groups


def _pass_over(label: Label, spec: ModelSpec, ledger: Ledger) -> bool:
    """Write down a tensor without a target that this model rightly does without; say whether it is one."""
    reason = why_bystander(label.name, ledger.infos[label.name])
    if not reason and label.target is not None and not label.unsupported:
        reason = spec.why_absent(label.target) or ""
    if reason:
        ledger.write([label.name], "not_applicable", label.target, reason)
    return bool(reason)


def _explain(label: Label, spec: ModelSpec, family: Family | None, ledger: Ledger, suggests: bool) -> None:
    """Write down why a tensor has no target in this model although it should."""
    if label.unsupported:
        ledger.faults.add(UNSUPPORTED_KIND, f"{label.unsupported}, by {label.name}")
        ledger.write([label.name], "unmatched", None, said("{what} is not supported", what=label.unsupported))
        return
    whole = label.leaf is None and is_whole_weight(label.name, spec)
    inside = None if whole or label.target is not None else _enclosing(label.name, spec)
    if inside is not None:
        ledger.faults.add(STRANGE, label.name)
        ledger.write([label.name], "unmatched", inside, said("its ending is no part of a known LoRA"))
        return
    relative = relative_of(label.place.module, family)
    reason, nearest = (
        (said("of {model}", model=relative), None) if relative else _why_unmatched(label, spec, suggests, whole)
    )
    ledger.faults.add(UNMATCHED, f"{label.name} ({f'nearest {nearest}' if nearest else reason})")
    ledger.write([label.name], "unmatched", None, reason, nearest)


def _enclosing(name: str, spec: ModelSpec) -> str | None:
    """Return the canonical path of the module that a tensor's name begins with, whatever follows it, or None."""
    parts = name.split(".")
    stems = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((path for stem in stems if (path := locate(stem, spec).path) is not None), None)


def _why_unmatched(label: Label, spec: ModelSpec, suggests: bool, whole: bool) -> tuple[str, str | None]:
    """Return (why no target of the model has this name, the nearest one)."""
    if whole:
        return said("a whole weight, not the change of one"), None
    if label.leaf is None:
        return said("its ending is no part of a known LoRA"), None
    if label.target is None:
        return said("the model has no such module"), spec.nearest(label.place.module) if suggests else None
    is_bias = label.target.endswith(".bias")
    return said("the module has no such bias" if is_bias else "the module has no such parameter"), label.place.path


def _complete(groups: Mapping[Address, Group], spec: ModelSpec, ledger: Ledger) -> dict[Address, Parts]:
    """Return the parts of the groups that are whole deltas; the others are written into the ledger."""
    complete: dict[Address, Parts] = {}
    for address, group in groups.items():
        names, target = [label.name for label in group.values()], address.target
        with ledger.refusing(names, target):
            parts = parts_of(target, group, ledger.infos, spec.shape_of(target))
            if parts is None:
                ledger.write(names, "not_applicable", target, said("an alpha with no tensors to scale"))
            else:
                complete[address] = parts
    return complete


def _fitting(
    parts: Mapping[Address, Parts],
    outlines: Mapping[Address, Delta],
    spec: ModelSpec,
    family: Family | None,
    ledger: Ledger,
) -> list[Address]:
    """Return where the model can take the delta; the others go into the ledger."""
    fitting = []
    for address, own in parts.items():
        with ledger.refusing(own.names, address.target):
            check_shape(address.target, outlines[address], spec, family)
            check_magnitude(own, outlines[address].shape, ledger.infos)
            fitting.append(address)
    return fitting


def _in_order(parts: Mapping[Address, Parts], spec: ModelSpec) -> dict[Address, Parts]:
    """Return the parts in the order of the model's targets."""
    order = {target: index for index, target in enumerate(spec.shapes)}
    return dict(sorted(parts.items(), key=lambda item: order[item[0].target]))
