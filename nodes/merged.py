"""A stack of LoRAs as patches of the host's own kind: merged where the host merges, saved and mixed with the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor, nn

from ..lora_core import ModelSpec, RoutedLora
from ..lora_core.apply.attachment import fused_deltas
from ..lora_core.apply.fused import FusedDelta, Strengths
from .bridge import ROOT, network_of

if TYPE_CHECKING:
    from comfy.sd import CLIP


class StackPatch(WeightAdapterBase):
    """What a stack adds to one parameter, at fixed strengths.

    Args:
        loaded_keys: names of a file, for the host's own kinds; none here.
        weights: the change and the strengths. The host makes copies of a patch by these two arguments.
    """

    name = "wanloom"

    def __init__(self, loaded_keys: set[str], weights: tuple[FusedDelta, Strengths]) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights

    def calculate_weight(
        self,
        weight: Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: object,
        function: Callable[[Tensor], Tensor],
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: object = None,
    ) -> Tensor:
        """Add the change, as the host wants it, to its own copy of the weight."""
        delta, strengths = self.weights
        changed = delta.changed_weight(weight, strengths)
        delta.leave_all_but(torch.device("meta"))  # a merge needs it once, and the next may be of another weight
        return weight if changed is weight else weight.add_(function((changed - weight).mul_(strength)))


def merged(patcher: ModelPatcher, loras: Sequence[RoutedLora], spec: ModelSpec) -> ModelPatcher:
    """Return a clone of a MODEL with LoRAs merged into its weights at their own strengths; schedules do not count."""
    if not loras:
        return patcher
    clone = patcher.clone()
    clone.add_patches(_patches(network_of(patcher), f"{ROOT}.", loras, spec))
    return clone


def merged_clip(clip: CLIP, loras: Sequence[RoutedLora], spec: ModelSpec) -> CLIP:
    """Return a copy of a CLIP with the parts of LoRAs merged that are its own; texts have no noise level."""
    if not loras:
        return clip
    clone = clip.clone()
    clone.add_patches(_patches(clip.cond_stage_model, "", loras, spec))
    return clone


def _patches(module: nn.Module, root: str, loras: Sequence[RoutedLora], spec: ModelSpec) -> dict[str, StackPatch]:
    """Return parameter key -> the patch that adds all changes of it."""
    strengths = Strengths([lora.strength for lora in loras])
    return {
        f"{root}{path}.{name}" if path else f"{root}{name}": StackPatch(set(), (delta, strengths))
        for path, deltas in fused_deltas(module, loras, spec).items()
        for name, delta in deltas.items()
    }
