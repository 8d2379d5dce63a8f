"""The reading of a LoRA file: from its tensors, under whatever names, to targets and deltas."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from ..checks import typed
from ..deltas import Delta
from ..errors import LoraFileError
from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec
from ..families.family import LoraTraits
from ..families.registry import come_in_pairs, spec_of_module
from ..wording import said
from .account import Account
from .agreement import check_stated
from .assembly import Assembly, assemble
from .containers.opening import open_tensor_file
from .containers.tensorfile import TensorFile
from .expert import Told, told_expert
from .origin import clues_of, grammar_of, namesakes
from .parts import Address
from .stated import NOTHING_STATED, StatedLora
from .values import changes_nothing
from .weights import LazyDeltas, LoraWeights

_log = logging.getLogger(__name__)

#: Up to this size the values of a LoRA are checked as it is read; beyond it, each delta's as it is first used.
MAX_EAGER_BYTES = 64 * 2**20


@typed(LoraFileError)
def read_lora(
    path: str | Path,
    *,
    spec: ModelSpec | nn.Module | None = None,
    allow_partial: bool = False,
    device: str = "cpu",
    stated: StatedLora = NOTHING_STATED,
    average: bool = False,
) -> LoraWeights:
    """Read a LoRA file of any known dialect, memory-mapped.

    Values are read when a delta is first looked up, and are checked then; those of LoRAs up to 64 MiB at once. Of a
    post-trained checkpoint, with its base around the LoRA, the LoRA alone is read.

    Args:
        path: a `.safetensors`, `.pt`, `.pth` or `.bin` file.
        spec: the model it must fit, or the module itself; None accepts every target of the family that the
            file's names tell, of any size.
        allow_partial: True to leave out tensors that the model has no place for, which is an error otherwise.
        device: where looked-up deltas shall live.
        stated: what the caller says of the LoRA; what the file contradicts is an error.
        average: of a training's file with both, take the moving average (EMA) and not the weights themselves.

    Raises:
        LoraFileError: the file is damaged, unsafe, incomplete, or holds values that are not finite.
        UnsupportedLoraError: it is of a kind that is known and not supported.
        LoraMismatchError: it is sound and does not fit the model.
    """
    assembly = assembled(path, spec, stated.alpha, average=average)
    assembly.faults.raise_any(assembly.file.path, allow_partial=allow_partial)
    check_stated(stated, assembly)
    weights = weights_of(assembly, device)
    if assembly.num_bytes <= MAX_EAGER_BYTES:
        weights = with_values(weights, assembly)
    _log.info("%s: %s", assembly.file.path.name, weights.account.summary())
    return weights


def assembled(
    path: str | Path, model: ModelSpec | nn.Module | None, alpha: float | None = None, *, average: bool = False
) -> Assembly:
    """Assemble a file for the model a caller means: a spec, a module, or any of the family that its names tell."""
    return assembled_file(open_tensor_file(path), model, alpha, average=average)


def assembled_file(
    file: TensorFile, model: ModelSpec | nn.Module | None, alpha: float | None = None, *, average: bool = False
) -> Assembly:
    """Assemble a file that is open; see `assemble` for `alpha` and `average`."""
    if model is None:
        assembly = assemble(file, grammar_of(file.infos), alpha=alpha, average=average)
        return replace(assembly, notes=(*assembly.notes, *_doubts(assembly)))
    spec = model if isinstance(model, ModelSpec) else spec_of_module(model)
    return assemble(file, spec, alpha=alpha, average=average)


def _doubts(assembly: Assembly) -> list[str]:
    """Return that names alone do not tell a file's model, where other models have the same."""
    parts = [name for own in assembly.parts.values() for name in own.carriers]
    if assembly.family is None or not (others := namesakes(parts, assembly.family)):
        return []
    return [said("its names could also be those of {others}", others=others)]


def weights_of(assembly: Assembly, device: str = "cpu") -> LoraWeights:
    """Return the weights of an assembly, no value read."""
    file = assembly.file
    told = _expert(assembly)
    halves: list[Mapping[str, Delta]] = [_deltas(assembly, half, device) for half in _halves(assembly)]
    return LoraWeights(
        path=file.path,
        name=file.path.stem,
        deltas=halves[0],
        low_noise_deltas=halves[1] if len(halves) > 1 else None,
        metadata=dict(file.metadata),
        expert=told.expert,
        expert_source=told.source,
        base=_base(assembly, has_expert=told.expert is not None),
        dialect=assembly.dialect,
        account=assembly.account,
        notes=(*assembly.notes, *filter(None, [told.note])),
    )


def with_values(weights: LoraWeights, assembly: Assembly) -> LoraWeights:
    """Read and check every value; return the weights with deltas that change nothing marked so in the account."""
    zero: set[str] = set()
    active: set[str] = set()
    for parts in assembly.parts.values():
        (zero if changes_nothing(parts.build_checked(assembly.file)) else active).update(parts.carriers)
    zero -= active  # of a fused delta, a share may be zero
    if not zero:
        return weights
    reason = said("every value of it, or of its partner, is zero")
    records = (
        replace(record, status="zero", reason=reason) if record.name in zero else record for record in weights.account
    )
    account = Account(tuple(records))
    notes = list(weights.notes)
    if not active:
        notes.append(said("all its deltas are zero: it changes nothing"))
    return replace(weights, account=account, notes=tuple(notes))


def _halves(assembly: Assembly) -> list[Expert | None]:
    """Return the experts that the file has deltas for, the high-noise one first; [None] when it is not divided."""
    present = {address.expert for address in assembly.parts}
    return [expert for expert in (None, *EXPERTS) if expert in present] or [None]


def _deltas(assembly: Assembly, expert: Expert | None, device: str) -> LazyDeltas:
    outlines = {address.target: outline for address, outline in assembly.outlines.items() if address.expert == expert}

    def build(target: str) -> Delta:
        delta = assembly.parts[Address(expert, target)].build_checked(assembly.file)
        return delta if device == "cpu" else delta.to(device)

    return LazyDeltas(outlines, build)


def _expert(assembly: Assembly) -> Told:
    """Return the expert the file is for, from the surest sign there is."""
    experts = [expert for expert in _halves(assembly) if expert is not None]
    if experts:
        return Told("both" if len(experts) > 1 else experts[0], "the prefix of its tensors")
    if not come_in_pairs(assembly.spec):
        return Told(None)  # "high" in a name means something else where nobody has experts
    return told_expert(assembly.file.path, assembly.file.metadata, assembly.family)


def _base(assembly: Assembly, *, has_expert: bool) -> str | None:
    """Return the published model that the file fits, as much of its name as the family can tell."""
    if assembly.family is None:
        return None
    targets = [record.target for record in assembly.account if record.target is not None]
    clues = clues_of(assembly.file.path, assembly.file.metadata)
    return assembly.family.origin.base(LoraTraits(assembly.shapes, targets, has_expert, clues))
