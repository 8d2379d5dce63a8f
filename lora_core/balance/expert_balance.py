"""What the LoRAs of a stack do to one expert: their sizes, how they meet, and what they would do to its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..experts import Expert
from ..families.base import ModelSpec
from ..plan.route import RoutedLora
from ..progress import Progress, unheard
from .directions import Closest, closest_layers
from .dry_step import DryStep
from .gram import Gram, weights_gram
from .layers import layers_of, num_left_out
from .proposal import content_strengths

#: Of how many pairs the most aligned layer is named.
_NUM_CLOSEST = 5


@dataclass(frozen=True, eq=False)
class ExpertBalance:
    """One expert.

    Attributes:
        loras: those that act on it, in the stack's order.
        weights: their changes against its weights; against matrices of ones where no base is known.
        has_base: whether sizes are by the base's weights.
        is_single: whether the model has this expert alone.
        blocks: block number -> the places of its layers among those of `weights`; None for what is in no block.
        closest: the pairs that are most aligned in any layer, each with that layer.
        num_left_out: changes of biases, norms and tables, which are not counted.
        outputs: what a dry step has shown, or None.
    """

    expert: Expert
    loras: tuple[RoutedLora, ...]
    weights: Gram
    has_base: bool
    is_single: bool
    blocks: dict[int | None, tuple[int, ...]]
    closest: tuple[Closest, ...]
    num_left_out: int
    outputs: DryStep | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(lora.name for lora in self.loras)

    @property
    def strengths(self) -> list[float]:
        """The strongest that each LoRA gets."""
        return [lora.peak for lora in self.loras]

    @property
    def gram(self) -> Gram:
        """What advice goes by: outputs where there was a dry step, else weights."""
        return self.weights if self.outputs is None else self.outputs.gram

    def sign(self, first: int, second: int) -> int:
        """Return -1 for two LoRAs whose strengths differ in sign, so that what is alike takes itself away."""
        return -1 if self.strengths[first] * self.strengths[second] < 0 else 1

    def alignment(self, gram: Gram | None = None) -> Tensor:
        """Return (N, N): the cosine between changes as they act, a negative strength turning one round."""
        signs = torch.tensor([-1.0 if strength < 0 else 1.0 for strength in self.strengths], dtype=torch.float64)
        return (self.weights if gram is None else gram).alignment() * signs[:, None] * signs

    def together(self, strengths: Sequence[float] | None = None, *, of_content: bool = False) -> float:
        """Return the size of all changes at once, or of those that are content."""
        own = content_strengths(self.loras) if of_content else self.strengths
        return self.weights.together(own if strengths is None else strengths)

    def block_sizes(self) -> Tensor:
        """Return (N, number of blocks): the root mean square of each LoRA's sizes in a block."""
        squares = self.weights.layer_sizes(self.strengths).square()
        columns = []
        for places in self.blocks.values():
            acting = self.weights.acts[list(places)].sum(dim=0).clamp_min(1)
            columns.append((squares[list(places)].sum(dim=0) / acting).sqrt())
        return torch.stack(columns, dim=1) if columns else torch.zeros(len(self.loras), 0)


def measure_expert(
    expert: Expert,
    loras: Sequence[RoutedLora],
    spec: ModelSpec,
    network: nn.Module | None,
    *,
    outputs: DryStep | None = None,
    progress: Progress = unheard,
) -> ExpertBalance:
    """Measure what LoRAs do to an expert; without its network, without the base's weights."""
    layers = layers_of(loras, spec, network)
    gram = weights_gram(layers, len(loras), progress)
    blocks: dict[int | None, list[int]] = {}
    for place, target in enumerate(gram.targets):
        block = spec.block_of(target)
        blocks.setdefault(None if block is None else block[0], []).append(place)
    ordered = sorted(blocks, key=lambda block: (block is None, block or 0))
    return ExpertBalance(
        expert,
        tuple(loras),
        gram,
        network is not None,
        spec.num_experts == 1,
        {block: tuple(blocks[block]) for block in ordered},
        closest_layers(gram, layers, _NUM_CLOSEST),
        num_left_out(loras, layers),
        outputs,
    )
