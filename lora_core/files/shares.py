"""The shares of fused deltas: outputs of one module here and of several there, put where the model has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import UnsupportedLoraError
from ..families.base import ModelSpec
from .faults import Heading
from .kinds import has_shares, is_by_input
from .ledger import Ledger
from .parts import MISFIT, TWICE, Address, JoinedParts, Parts, Unfit

#: A norm over the outputs of all modules together is none of the single ones, and so is a matrix that mixes them.
INSEPARABLE = Heading(
    UnsupportedLoraError,
    "{n} fused target{s} {have} a magnitude of the inputs, which cannot be split",
    remedy="Choose another LoRA",
)
MIXED = Heading(
    UnsupportedLoraError,
    "{n} fused target{s} {have} an orthogonal change, which cannot be split",
    remedy="Choose another LoRA",
)


def shared_out(parts: Mapping[Address, Parts], spec: ModelSpec, ledger: Ledger) -> dict[Address, Parts | JoinedParts]:
    """Put fused targets, and those that the model has fused, in their places; what cannot be is written down."""
    shared = {address: own for address, own in parts.items() if address.target in spec.shapes}
    for address, own in parts.items():
        if address not in shared:
            with ledger.refusing(own.names, address.target):
                shared |= _shares(address, own, shared, spec, ledger)
    return _joined(shared, spec)


def _shares(
    address: Address, own: Parts, taken: Mapping[Address, Parts], spec: ModelSpec, ledger: Ledger
) -> dict[Address, Parts]:
    """Return each part of a fused target with its rows of the delta; of a target that is none, itself."""
    places = [address._replace(target=target) for target in spec.parts_of(address.target)]
    for place in places:
        whole = address._replace(target=spec.whole_of(place.target) or place.target)
        if (other := taken.get(place) or taken.get(whole)) is not None:
            raise Unfit(TWICE, f"{place.target} by {other.names[0]} and {own.names[0]}")
    if len(places) == 1:
        return {places[0]: own}
    outline = own.outline(ledger.infos)
    shape = outline.shape
    sizes = spec.part_sizes(address.target, shape)
    if sizes is None:
        raise Unfit(MISFIT, f"{address.target} (its {shape[0]} outputs are not those of {_wanted(address, spec)})")
    if own.magnitude and is_by_input(ledger.infos[own.magnitude].shape, shape, own.magnitude):
        raise Unfit(INSEPARABLE, f"{address.target}, by {own.magnitude}")
    if not has_shares(outline):
        raise Unfit(MIXED, f"{address.target}, by {own.carriers[0]}")
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return {
        place: replace(own, target=place.target, share=(end - size, end))
        for place, size, end in zip(places, sizes, ends, strict=True)
    }


def _wanted(address: Address, spec: ModelSpec) -> str:
    parts = spec.parts_of(address.target)
    alike = address.target.removesuffix(".bias") not in spec.with_rest
    return f"{len(parts)} alike" if alike else " and ".join(part.rpartition(".")[2] for part in parts)


def _joined(shared: Mapping[Address, Parts], spec: ModelSpec) -> dict[Address, Parts | JoinedParts]:
    """Join the parts of each module that the model has fused."""
    found: dict[Address, Parts | JoinedParts] = {}
    for address, own in shared.items():
        whole = None if address.target in spec.shapes else spec.whole_of(address.target)
        if whole is None:
            found[address] = own
            continue
        pieces = [shared.get(address._replace(target=part)) for part in spec.parts_of(whole)]
        shape = spec.shape_of(whole)
        sizes = spec.part_sizes(whole, shape) if shape else [_num_rows(piece) for piece in pieces]
        assert sizes is not None, "a model's own module has the outputs of its parts"
        rows = tuple(zip(pieces, sizes, strict=True))
        found.setdefault(address._replace(target=whole), JoinedParts(whole, rows))
    return found


def _num_rows(piece: Parts | None) -> int:
    assert piece is not None, "a grammar has one fused module, all of which a file gives"
    assert piece.share is not None, "its parts have no names in files"
    return piece.share[1] - piece.share[0]
