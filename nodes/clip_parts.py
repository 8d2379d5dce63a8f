"""What of LoRAs is a text encoder's: told apart from what is the network's, and said where there is no CLIP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ..lora_core import LoadedStack, RoutedLora
from ..lora_core.files.bystanders import TEXT_ENCODER
from ..lora_core.files.weights import LazyDeltas, outlines_of
from ..lora_core.wording import Said, said
from .native_spec import TEXT_ENCODERS


def network_parts(loras: Iterable[RoutedLora]) -> tuple[RoutedLora, ...]:
    """Return the LoRAs with what changes the network."""
    return _parts(loras, lambda target: not target.startswith(TEXT_ENCODERS))


def clip_parts(loras: Iterable[RoutedLora]) -> tuple[RoutedLora, ...]:
    """Return the LoRAs with what changes a text encoder; of a file that acts on both experts once."""
    by_file = {(lora.index, id(lora.weights)): lora for lora in loras}
    return _parts(by_file.values(), lambda target: target.startswith(TEXT_ENCODERS))


def _parts(loras: Iterable[RoutedLora], wanted: Callable[[str], bool]) -> tuple[RoutedLora, ...]:
    return tuple(_part(lora, wanted) for lora in loras if any(map(wanted, lora.deltas)))


def _part(lora: RoutedLora, wanted: Callable[[str], bool]) -> RoutedLora:
    if all(map(wanted, lora.deltas)):
        return lora
    outlines = {target: delta for target, delta in outlines_of(lora.deltas).items() if wanted(target)}
    factors = {target: factor for target, factor in lora.factors.items() if wanted(target)}
    return replace(lora, deltas=LazyDeltas(outlines, lora.deltas.__getitem__), factors=factors)


def notes_on_clip(loaded: LoadedStack, *, has_clip: bool, loras: Iterable[RoutedLora]) -> Iterator[Said]:
    """Say what of the files a CLIP would take that is not connected, or takes without its schedule or mask."""
    for lora in loaded.loras:
        left = sum(record.reason == TEXT_ENCODER for weights in lora.files for record in weights.account)
        if left and not has_clip:
            yield said(
                "note: {name}: {count} tensors are a text encoder's. Connect a CLIP to apply them",
                name=lora.name,
                count=left,
            )
    for lora in loras:
        if lora.schedule is not None:
            yield said(
                "note: {name}: its part on the text encoder acts with {strength}; texts have no noise level to follow",
                name=lora.name,
                strength=f"{lora.strength:g}",
            )
        if lora.is_masked:
            yield said(
                "note: {name}: its part on the text encoder acts on the whole clip; texts have no place in it",
                name=lora.name,
            )
