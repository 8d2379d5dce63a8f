"""The layers that learn: chosen by words, by patterns on the model's own module paths, and by blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from ...checks import nearest, shown
from ...errors import TrainingError
from ...families.base import ModelSpec, ModuleKind
from ...wording import said

#: Word -> the kinds of module it stands for, among the linear layers of the blocks; None for all of them.
WORDS: Mapping[str, frozenset[ModuleKind] | None] = {
    "linear": None,
    "attention": frozenset({"self_attn", "cross_attn"}),
    "self_attn": frozenset({"self_attn"}),
    "cross_attn": frozenset({"cross_attn"}),
    "ffn": frozenset({"ffn"}),
}
#: What is chosen when nobody says.
EVERYTHING = ("linear",)

_WORD = re.compile(r"\w+")
_RANGE = re.compile(r"(\d{1,6})(?:\s*(-)\s*(\d{1,6})?)?")


@dataclass(frozen=True)
class Layer:
    """One linear layer.

    Attributes:
        target: its path as the model itself calls it.
        path: its path inside the network at hand, which may be spelled otherwise.
        shape: of its weight, outputs and inputs; that of a packed weight is what it unpacks to.
    """

    target: str
    path: str
    shape: tuple[int, int]


def linear_layers(network: nn.Module, spec: ModelSpec) -> tuple[Layer, ...]:
    """Return every linear layer of a network, in the order it has them."""
    return tuple(
        Layer(spec.find(path) or path, path, (module.out_features, module.in_features))
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear)
    )


def block_layers(network: nn.Module, spec: ModelSpec) -> tuple[Layer, ...]:
    """Return the linear layers of a network's blocks."""
    return tuple(layer for layer in linear_layers(network, spec) if spec.block_of(layer.target))


def chosen_layers(network: nn.Module, spec: ModelSpec, targets: tuple[str, ...], blocks: str) -> tuple[Layer, ...]:
    """Return the layers that any of `targets` means, in the chosen blocks, in the network's own order.

    A word means layers inside blocks; a pattern has to match the whole path of a linear layer, wherever it lies.
    """
    if not targets:
        raise TrainingError(
            "targets",
            "none are named",
            expected=said("{words}, or regular expressions", words=", ".join(WORDS)),
            remedy="Name some",
        )
    layers = linear_layers(network, spec)
    if blocks.strip():
        numbers = chosen_blocks(blocks, spec)
        layers = tuple(x for x in layers if (found := spec.block_of(x.target)) and found[0] in numbers)
    wanted: set[str] = set()
    for target in targets:
        means = _meaning(target, spec)
        matching = {layer.target for layer in layers if means(layer.target)}
        if not matching:
            raise _nothing_matches(target, blocks, layers, spec)
        wanted |= matching
    return tuple(layer for layer in layers if layer.target in wanted)


def chosen_blocks(blocks: str, spec: ModelSpec) -> frozenset[int]:
    """Return the numbers that a text such as "0-9,20-29" names, all of them blocks of the model; "" for all."""
    there = {found[0] for target in spec.shapes if (found := spec.block_of(target))}
    if not blocks.strip():
        return frozenset(there)
    numbers: set[int] = set()
    for part in blocks.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = _ends(match, max(there, default=0)) if match else (0, -1)
        if first > last:
            expected = 'first-last, such as "0-9,20-29", or single numbers'
            raise TrainingError(
                "blocks",
                said("{part} is no range", part=shown(part.strip())),
                expected=expected,
                remedy="Correct the range",
            )
        if last not in there:
            expected = said("0 to {max}", max=max(there)) if there else "a model with blocks"
            raise TrainingError(
                "blocks",
                said("{spec} has no block {last}", spec=spec.title, last=last),
                expected=expected,
                remedy="Correct the range",
            )
        numbers |= set(range(first, last + 1))
    return frozenset(numbers)


def _ends(match: re.Match[str], highest: int) -> tuple[int, int]:
    """Return the first and the last number of a range; one that ends with its dash goes to the last block."""
    first = int(match[1])
    if match[2] and not match[3]:
        return first, max(first, highest)
    return first, int(match[3] or first)


def check_rank(rank: int, layers: tuple[Layer, ...]) -> None:
    """Raise where an adapter of this rank would be larger than a layer's smaller side, which it cannot make use of."""
    small = min(layers, key=lambda layer: min(layer.shape))
    if rank > min(small.shape):
        outputs, inputs = small.shape
        what = said(
            "{rank} is larger than the layer {target!r}, which has {outputs} outputs and {inputs} inputs",
            rank=rank,
            target=small.target,
            outputs=outputs,
            inputs=inputs,
        )
        remedy = "Choose a smaller rank, or leave the layer out of the targets"
        raise TrainingError("rank", what, expected=said("at most {most}", most=min(small.shape)), remedy=remedy)


def _meaning(target: str, spec: ModelSpec) -> Callable[[str], bool]:
    """Return what says of a path whether a word or a pattern means it."""
    if target in WORDS:
        kinds = WORDS[target]
        return lambda path: spec.block_of(path) is not None and (kinds is None or spec.kind_of(path) in kinds)
    if _WORD.fullmatch(target):
        raise TrainingError(
            "targets",
            said("unknown word {target}", target=shown(target)),
            expected=nearest(target, WORDS),
            remedy="Choose one that there is",
        )
    try:
        pattern = re.compile(target)
    except re.error as error:
        raise TrainingError(
            "targets",
            said("{target} is no regular expression: {error}", target=shown(target), error=error),
            remedy="Correct it",
        ) from None
    return lambda path: pattern.fullmatch(path) is not None


def _nothing_matches(target: str, blocks: str, layers: tuple[Layer, ...], spec: ModelSpec) -> TrainingError:
    plain = re.sub(r"\\d[+*]?|\[0-9\][+*]?", "0", target).replace("\\", "")
    near = spec.nearest(plain) or (layers[0].target if layers else "")
    within = f" in the blocks {blocks}" if blocks.strip() else ""
    what = said(
        "{target} matches no linear layer of {spec}{within}", target=shown(target), spec=spec.title, within=within
    )
    remedy = said("A pattern has to match a layer's whole path; words are {words}", words=", ".join(WORDS))
    return TrainingError("targets", what, expected=said("nearest: {near!r}", near=near) if near else "", remedy=remedy)
