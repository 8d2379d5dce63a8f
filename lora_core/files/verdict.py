"""The verdict on a file as a whole: whether its deltas have the model's shapes, and whose LoRA it is if not."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..checks import shape_text
from ..deltas import Delta, fits
from ..errors import LoraMismatchError, UnsupportedLoraError
from ..families.base import UNKNOWN_SHAPE, ModelSpec
from .faults import Faults, Heading
from .origin import PATCH_CHANNELS, WAN_SIZES, foreign_model, wan_width
from .parts import Unfit

WRONG_SHAPE = Heading(
    LoraMismatchError,
    "{n} target{s} {have} another shape in the model",
    remedy="Switch allow_partial on to apply the others",
    partial=True,
)
CONTROL = Heading(UnsupportedLoraError, "it is a control LoRA, which is not supported")


def check_shape(target: str, delta: Delta, spec: ModelSpec) -> None:
    """Refuse a delta whose shape does not fit the model's parameter, naming both."""
    wanted = tuple(spec.shapes[target])
    if target == "patch_embedding" and delta.kind == "lora" and _widens(delta.shape, wanted):
        raise Unfit(CONTROL, f"its patch_embedding takes {delta.shape[1]} input channels", "wrong_shape")
    if wanted == UNKNOWN_SHAPE or fits(delta.shape, wanted):
        return
    made_for = PATCH_CHANNELS.get(delta.shape[1]) if target == "patch_embedding" and len(delta.shape) > 1 else None
    suffix = f", as {made_for} has it," if made_for else ""
    case = f"{target} is {shape_text(delta.shape)} in the file{suffix} and {shape_text(wanted)} in the model"
    raise Unfit(WRONG_SHAPE, case, "wrong_shape")


def judge_size(faults: Faults, spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]], num_fitting: int) -> None:
    """Add what is wrong with the file as a whole: made for another size of Wan.

    Args:
        faults: where to add it.
        spec: the model.
        shapes: target -> shape of every delta the file holds, fitting or not.
        num_fitting: how many of them the model can take.
    """
    if num_fitting * 2 > len(shapes):
        return
    known = {target: shape for target, shape in spec.shapes.items() if shape != UNKNOWN_SHAPE}
    theirs, ours = wan_width(shapes), wan_width(known)
    if theirs is None or ours is None or theirs == ours:
        return
    size = WAN_SIZES.get(theirs)
    made_for = f"a Wan {size} LoRA (width {theirs})" if size else f"a LoRA for a transformer of width {theirs}"
    remedy = f"Choose a LoRA made for {spec.title}" + (f", or a Wan {size} model" if size else "")
    faults.put_first(
        Heading(LoraMismatchError, f"this is {made_for} and the model is {spec.title} (width {ours})", remedy=remedy)
    )


def judge_nothing_applied(faults: Faults, spec: ModelSpec, names: Collection[str]) -> None:
    """Add that nothing in the file applies to the model, and whose LoRA it looks like."""
    foreign = foreign_model(names)
    looks = f"it looks like a LoRA for {foreign}; " if foreign else ""
    remedy = f"Choose a LoRA made for {spec.title}"
    text = f"{looks}none of its {len(names)} tensor{'s' if len(names) > 1 else ''} applies to {spec.title}"
    faults.put_first(Heading(LoraMismatchError, text, remedy=remedy))


def _widens(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Say whether a patch embedding takes channels that neither the model nor any published Wan has."""
    return len(shape) > 1 and shape[1] not in PATCH_CHANNELS and shape[1:2] != wanted[1:2]
