"""The shares of a fused delta: what one of the modules gets whose projections another library has stacked into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import UnsupportedLoraError
from ..families.base import ModelSpec
from .faults import Heading
from .kinds import has_shares, is_by_input
from .ledger import Ledger
from .parts import MISFIT, TWICE, Address, Parts, Unfit

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


def shared_out(parts: Mapping[Address, Parts], spec: ModelSpec, ledger: Ledger) -> dict[Address, Parts]:
    """Put the shares of fused targets in their places; what cannot be split is written into the ledger."""
    shared = {address: own for address, own in parts.items() if address.target in spec.shapes}
    for address, own in parts.items():
        if address not in shared:
            with ledger.refusing(own.names, address.target):
                shared |= _shares(address, own, shared, spec, ledger)
    return shared


def _shares(
    address: Address, own: Parts, taken: Mapping[Address, Parts], spec: ModelSpec, ledger: Ledger
) -> dict[Address, Parts]:
    places = [address._replace(target=target) for target in spec.parts_of(address.target)]
    twice = next((place for place in places if place in taken), None)
    if twice is not None:
        raise Unfit(TWICE, f"{twice.target} by {taken[twice].names[0]} and {own.names[0]}")
    outline = own.outline(ledger.infos)
    shape = outline.shape
    if shape[0] % len(places):
        raise Unfit(MISFIT, f"{address.target} (its {shape[0]} outputs are not those of {len(places)} alike)")
    if own.magnitude and is_by_input(ledger.infos[own.magnitude].shape, shape, own.magnitude):
        raise Unfit(INSEPARABLE, f"{address.target}, by {own.magnitude}")
    if not has_shares(outline):
        raise Unfit(MIXED, f"{address.target}, by {own.carriers[0]}")
    return {place: replace(own, target=place.target, share=(i, len(places))) for i, place in enumerate(places)}
