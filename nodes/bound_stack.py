"""What a stack adds to one of ComfyUI's models, whatever its strengths and masks: made once, and found again.

It lasts for as long as any MODEL, or the loaded model itself, still holds it.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..lora_core import LoraWeights, ModelSpec, RoutedLora
from ..lora_core.apply.attachment import fused, terms_by_parameter
from ..lora_core.apply.fused import FusedDelta, Strengths
from .call_masks import MaskedPart

#: ComfyUI's dynamic VRAM loader keeps smaller layers resident and asks them for no weight wrapper.
_MIN_WRAPPED_BYTES = 16 * 1024


def network_of(patcher: ModelPatcher) -> nn.Module:
    return patcher.model.diffusion_model


@dataclass(frozen=True, eq=False)
class BoundStack:
    """All that a stack adds to one model, whatever its strengths.

    Attributes:
        wrapped: (module path, parameter name) -> the change that a weight wrapper makes.
        injected: module path -> parameter name -> the change that the injection makes.
        uuid: ComfyUI's name for the model's weights with this stack on them.
        sources: what was read, and is not read again while it is here; kept, so that no other takes its identity.
        masked: what the injection does for LoRAs that act on a part of the clip; None where there are none.
    """

    strengths: Strengths
    wrapped: Mapping[tuple[str, str], FusedDelta]
    injected: Mapping[str, Mapping[str, FusedDelta]]
    uuid: uuid.UUID
    sources: tuple[LoraWeights, ...]
    masked: MaskedPart | None = None

    @property
    def deltas(self) -> Iterator[FusedDelta]:
        yield from self.wrapped.values()
        for deltas in self.injected.values():
            yield from deltas.values()

    @property
    def num_bytes(self) -> int:
        own = sum(delta.num_bytes for delta in self.deltas)
        return own if self.masked is None else own + self.masked.num_bytes


class WeightChange:
    """One parameter's weight wrapper: W -> W_eff.

    A loaded model keeps the wrappers it was loaded with, and they keep the stack: it is found again even when every
    MODEL that it was bound to is gone.

    Args:
        takes_copies: the weights it is called with are copies made for it, which it may write W_eff over. To allocate
            as much again, and copy it again, would take as long as the products of a few LoRAs.
    """

    def __init__(self, stack: BoundStack, delta: FusedDelta, *, takes_copies: bool = False) -> None:
        self._stack = stack
        self._delta = delta
        self._takes_copies = takes_copies

    def __call__(self, weight: Tensor) -> Tensor:
        out = weight if self._takes_copies and weight.is_contiguous() else None
        return self._delta.changed_weight(weight, self._stack.strengths, out)

    def move_to(self, device: torch.device) -> int:
        """Follow the layer's weight to `device`; return the bytes for ComfyUI to count there."""
        return self._delta.move_to(device)


class CountedChange:
    """A weight wrapper that changes nothing, and lets ComfyUI count what an injection holds for a layer."""

    def __init__(self, stack: BoundStack, deltas: Sequence[FusedDelta]) -> None:
        self._stack = stack
        self._deltas = deltas

    def __call__(self, weight: Tensor) -> Tensor:
        return weight

    def move_to(self, device: torch.device) -> int:
        return sum(delta.move_to(device) for delta in self._deltas)


CHANGES = (WeightChange, CountedChange)

#: Alive for as long as a MODEL or a loaded model holds it.
BOUND: weakref.WeakValueDictionary[tuple[object, ...], BoundStack] = weakref.WeakValueDictionary()


def bound_stack(patcher: ModelPatcher, loras: Sequence[RoutedLora], spec: ModelSpec) -> BoundStack:
    """Return what this stack adds to this model: found again, or made now."""
    key = (id(patcher.model), patcher.patches_uuid, tuple(_identity(lora) for lora in loras))
    stack = BOUND.get(key)
    if stack is None:
        stack = BOUND[key] = _make(network_of(patcher), loras, spec)
    return stack


def _identity(lora: RoutedLora) -> tuple[object, ...]:
    """Return what tells one LoRA's changes from another's; strength, schedule and mask do not."""
    return id(lora.weights), lora.made_for, tuple(lora.factors.items()), lora.is_masked


def _make(network: nn.Module, loras: Sequence[RoutedLora], spec: ModelSpec) -> BoundStack:
    wrapped: dict[tuple[str, str], FusedDelta] = {}
    injected: dict[str, dict[str, FusedDelta]] = {}
    strengths = Strengths([lora.strength for lora in loras])
    terms, masked = terms_by_parameter(network, loras, spec), None
    if any(lora.is_masked for lora in loras):
        masked = MaskedPart(network, loras, spec, strengths, terms)
    for path, deltas in fused(network, terms if masked is None else masked.for_weights).items():
        module = network.get_submodule(path)
        for name, delta in deltas.items():
            if _takes_wrappers(module, name):
                wrapped[path, name] = delta
            else:
                injected.setdefault(path, {})[name] = delta
    return BoundStack(strengths, wrapped, injected, uuid.uuid4(), tuple(lora.weights for lora in loras), masked)


def _takes_wrappers(module: nn.Module, name: str) -> bool:
    """Say whether a layer hands this parameter through weight wrappers; other packs' layers, though derived, do not."""
    if type(module).__module__ != comfy.ops.__name__ or not hasattr(module, f"{name}_function"):
        return False
    return comfy.model_management.module_size(module) > _MIN_WRAPPED_BYTES
