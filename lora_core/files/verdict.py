"""The verdict on a file as a whole: whether its deltas have the model's shapes, and whose LoRA it is if not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..checks import shape_text
from ..deltas import Delta, fits
from ..errors import LoraMismatchError, UnsupportedLoraError
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from ..families.family import Family
from ..wording import joined, said
from .account import Account
from .dialects import Label
from .faults import Faults, Heading
from .origin import foreign_model
from .parts import Inapplicable, Unfit

WRONG_SHAPE = Heading(
    LoraMismatchError,
    "{n} target{s} {have} another shape in the model",
    remedy="Switch allow_partial on to apply the others",
    partial=True,
)
CONTROL = Heading(UnsupportedLoraError, "it is a control LoRA, which is not supported", remedy="Choose another LoRA")


def check_shape(target: str, delta: Delta, spec: ModelSpec, family: Family | None) -> None:
    """Refuse a delta whose shape does not fit the model's parameter, naming both; pass over a relative's."""
    wanted, shape = spec.shape_of(target), delta.shape
    control = family.origin.unsupported(target, delta.kind, shape, wanted) if family else ""
    if control:
        raise Unfit(CONTROL, control, "wrong_shape")
    if wanted == UNKNOWN_SHAPE or fits(shape, wanted):
        return
    owner = family.origin.whose_shape(target, shape) if family else ""
    case = said(
        "{target} is {shape} in the file, as {owner} has it, and {wanted} in the model"
        if owner
        else "{target} is {shape} in the file and {wanted} in the model",
        target=target,
        shape=shape_text(shape),
        owner=owner,
        wanted=shape_text(wanted),
    )
    if owner and shape[:1] == wanted[:1]:  # of the model's width, so made for its sibling rather than for another size
        raise Inapplicable(case)
    raise Unfit(WRONG_SHAPE, case, "wrong_shape")


def judge_size(
    faults: Faults, spec: ModelSpec, family: Family | None, shapes: Mapping[str, tuple[int, ...]], num_fitting: int
) -> None:
    """Add what is wrong with the file as a whole: made for another size of the model's family.

    Args:
        faults: where to add it.
        spec: the model.
        family: the family that both are of.
        shapes: target -> shape of every delta the file holds, fitting or not.
        num_fitting: how many of them the model can take.
    """
    if num_fitting * 2 > len(shapes) or family is None:
        return
    known = {target: shape for target, shape in spec.shapes.items() if shape != UNKNOWN_SHAPE}
    theirs, ours = family.origin.width(shapes), family.origin.width(known)
    if theirs is None or ours is None or theirs == ours:
        return
    size = family.origin.size(theirs)
    if size:
        whose = said("this is a {size} LoRA (width {theirs})", size=size, theirs=theirs)
        remedy = said("Choose a LoRA made for {model}, or a {size} model", model=spec.title, size=size)
    else:
        whose = said("this is a LoRA for a transformer of width {theirs}", theirs=theirs)
        remedy = said("Choose a LoRA made for {model}", model=spec.title)
    what = said("{whose} and the model is {model} (width {ours})", whose=whose, model=spec.title, ours=ours)
    faults.put_first(Heading(LoraMismatchError, what, remedy=remedy))


def is_base_checkpoint(labels: Sequence[Label]) -> bool:
    """Say whether a file has no part of any LoRA, and mostly whole weights."""
    if any(label.leaf is not None or label.unsupported for label in labels):
        return False
    return 2 * sum(label.name.endswith((".weight", ".bias")) for label in labels) > len(labels)


def judge_base_checkpoint(faults: Faults, num_tensors: int) -> None:
    """Say of a file that it is a base checkpoint, which was given as a LoRA, and nothing of its tensors one by one."""
    what = said("it holds no LoRA parameters: its {count} tensors are those of a base checkpoint", count=num_tensors)
    faults.cases.clear()
    faults.put_first(Heading(LoraMismatchError, what, remedy="Give this file as the model, and a LoRA in its place"))


def judge_nothing_applied(faults: Faults, spec: ModelSpec, family: Family | None, account: Account) -> None:
    """Add that nothing in the file applies to the model, and whose LoRA it looks like."""
    unmatched = [record for record in account if record.status == "unmatched"]
    foreign = foreign_model((record.name for record in unmatched or account), family)
    near_miss = not foreign and any(record.nearest for record in unmatched)
    what = said(
        "its tensor does not apply to {model}"
        if len(account) == 1
        else "none of its {count} tensors applies to {model}",
        count=len(account),
        model=spec.title,
    )
    if foreign:
        what = joined("; ", [said("it looks like a LoRA for {foreign}", foreign=foreign), what])
    remedy = said(
        "Correct its names after the nearest ones, or choose a LoRA made for {model}"
        if near_miss
        else "Choose a LoRA made for {model}",
        model=spec.title,
    )
    faults.put_first(Heading(LoraMismatchError, what, remedy=remedy))
