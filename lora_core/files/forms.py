"""The form of fused modules in a dialect: native ones joined where the native network has them so, else in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from ..deltas import Delta, Full, Lora, Stacked, stacked
from ..errors import UnsupportedLoraError
from ..families.registry import family_of_targets
from .dialects import DIALECTS
from .kinds import has_shares, share_of
from .weights import LoraWeights

#: (path of a part, how many times the module's inputs its outputs are).
_Parts = tuple[tuple[str, int], ...]


def in_form_of(weights: LoraWeights, dialect: str) -> LoraWeights:
    """Return the same changes with the modules that a dialect's own readers know."""
    family = family_of_targets((*weights.deltas, *(weights.low_noise_deltas or {})))
    if family is None or not family.naming.joined:
        return weights
    change = _joined if DIALECTS[dialect].modules == "native" else _in_parts
    low = weights.low_noise_deltas
    return replace(
        weights,
        deltas=_changed(weights.deltas, family.naming.joined, change),
        low_noise_deltas=None if low is None else _changed(low, family.naming.joined, change),
    )


_Change = Callable[[Mapping[str, Delta], str, _Parts, str], Mapping[str, Delta]]


def _changed(deltas: Mapping[str, Delta], joined: Mapping[str, _Parts], change: _Change) -> dict[str, Delta]:
    found: dict[str, Delta] = {}
    wholes = {part: whole for whole, parts in joined.items() for part, _ in parts} | {whole: whole for whole in joined}
    for target in deltas:
        path = target.removesuffix(".bias")
        if path not in wholes:
            found[target] = deltas[target]
            continue
        whole, suffix = wholes[path], target[len(path) :]
        found.update(change(deltas, whole, joined[whole], suffix))
    return found


def _joined(deltas: Mapping[str, Delta], whole: str, parts: _Parts, suffix: str) -> Mapping[str, Delta]:
    if whole + suffix in deltas:
        return {whole + suffix: deltas[whole + suffix]}
    given = [(deltas.get(part + suffix), factor) for part, factor in parts]
    width = next(delta.shape[0] // factor for delta, factor in given if delta is not None)
    rows = [(delta, factor * width if delta is None else delta.shape[0]) for delta, factor in given]
    delta = stacked(_sharing(rows))
    return {whole + suffix: Full(delta.dense()) if isinstance(delta, Stacked) and not delta.needs_base else delta}


def _in_parts(deltas: Mapping[str, Delta], whole: str, parts: _Parts, suffix: str) -> Mapping[str, Delta]:
    if whole + suffix not in deltas:
        return {part + suffix: deltas[part + suffix] for part, _ in parts if part + suffix in deltas}
    delta = deltas[whole + suffix]
    if not has_shares(delta):
        what = "its orthogonal change mixes the outputs of parts that this dialect has apart"
        raise UnsupportedLoraError(whole, what, remedy="Write it in the comfyui dialect")
    width = delta.shape[0] // sum(factor for _, factor in parts)
    found, begin = {}, 0
    for part, factor in parts:
        rows = slice(begin, begin := begin + factor * width)
        found[part + suffix] = share_of(delta, rows)
    return found


def _sharing(rows: list[tuple[Delta | None, int]]) -> list[tuple[Delta | None, int]]:
    """Let LoRAs with equal `down` and scale share it, as those do that were one fused LoRA before."""
    first: list[Lora] = []
    found: list[tuple[Delta | None, int]] = []
    for delta, size in rows:
        if isinstance(delta, Lora) and delta.mid is None:
            same = next((one for one in first if one.scale == delta.scale and torch.equal(one.down, delta.down)), None)
            first += [] if same else [delta]
            delta = replace(delta, down=same.down) if same else delta
        found.append((delta, size))
    return found
