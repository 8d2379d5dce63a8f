"""The bridge to ComfyUI's models: a stack of LoRAs bound to a clone of a MODEL, the MODEL itself left as it was.

Three of ComfyUI's own mechanisms carry it:

- *weight wrappers*: ComfyUI's layers cast their weight at every call and hand the cast value through functions. One
  such function per layer adds the whole stack (`lora_core.fused`, the weight side). This works with fp16, bf16, fp8
  with and without scales, offloading and partial loading, because it sits behind all of them.
- an *injection*, in place while the model is loaded, for what takes no weight wrapper: layers of other packs (GGUF),
  small vectors (norms), and tables that belong to no layer (`modulation`).
- an *APPLY_MODEL wrapper*, which sets the strengths from the noise level before each call of the network.

What a stack adds to a model depends on its files and filters, not on its strengths and schedules. So it is made once
and found again for as long as any MODEL, or the loaded model itself, still holds it: a changed strength changes a few
numbers, and ComfyUI sees the weights it has loaded as the weights it needs.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, PatcherInjection, WrappersMP
from torch import Tensor, nn

from ..lora_core import ModelSpec, RoutedLora
from ..lora_core.apply import fused_deltas
from ..lora_core.families.base import parameter_shapes
from ..lora_core.families.wan import infer_wan_spec
from ..lora_core.fused import FusedDelta, Strengths
from ..lora_core.patched import PatchedModule
from ..lora_core.products import Scratch, patch

#: Where ComfyUI keeps the network inside its model.
_ROOT = "diffusion_model"
#: ComfyUI's dynamic VRAM loader keeps smaller layers resident and asks them for no weight wrapper.
_MIN_WRAPPED_BYTES = 16 * 1024
#: Noise levels arrive from the host in float32; within this they are the plan's own.
_SIGMA_TOLERANCE = 1e-5

#: sigma -> the strength of each LoRA.
StrengthsAt = Callable[[float], tuple[float, ...]]


def network_of(patcher: ModelPatcher) -> nn.Module:
    return patcher.model.diffusion_model


def spec_of(patcher: ModelPatcher, *, num_experts: int, where: object) -> ModelSpec:
    """Read off a MODEL's parameters which Wan it is."""
    return infer_wan_spec(parameter_shapes(network_of(patcher)), num_experts=num_experts, where=where)


def bind(patcher: ModelPatcher, loras: Sequence[RoutedLora], spec: ModelSpec, sigmas: Sequence[float]) -> ModelPatcher:
    """Return a clone of a MODEL on which LoRAs act; the MODEL itself, where none does.

    Args:
        patcher: the MODEL of one expert.
        loras: those routed to this expert.
        spec: what the model is called.
        sigmas: the noise levels of the whole run, which schedules that count steps are placed on.
    """
    if not loras:
        return patcher
    bound = _bound(patcher, loras, spec)
    clone = patcher.clone()
    for key, wrapper in bound.wrappers.items():
        clone.add_weight_wrapper(key, wrapper)
    # Whatever its strengths, this stack on these weights is one state of the model to ComfyUI.
    clone.patches_uuid = bound.uuid
    key = f"wanloom.{bound.uuid}"
    clone.set_injections(key, [bound.injection])
    clone.add_wrapper_with_key(
        WrappersMP.APPLY_MODEL, key, partial(_with_strengths, bound, strengths_at(loras, sigmas))
    )
    clone.add_callback_with_key(CallbacksMP.ON_DETACH, key, partial(_on_detach, bound))
    clone.add_callback_with_key(CallbacksMP.ON_CLONE, key, _on_clone)
    return clone


def with_shift(patcher: ModelPatcher, shift: float) -> ModelPatcher:
    """Return a clone of a MODEL whose schedules have this shift, as core's ModelSamplingSD3 makes it."""

    class Sampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    sampling = Sampling(patcher.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    clone = patcher.clone()
    clone.add_object_patch("model_sampling", sampling)
    return clone


def strengths_at(loras: Sequence[RoutedLora], sigmas: Sequence[float]) -> StrengthsAt:
    """Return the strengths of these LoRAs as a function of the noise level."""
    factors = [None if lora.schedule is None else lora.schedule.over(sigmas) for lora in loras]

    def at(sigma: float) -> tuple[float, ...]:
        nearest = min(sigmas, key=lambda planned: abs(planned - sigma))
        level = nearest if abs(nearest - sigma) < _SIGMA_TOLERANCE else sigma
        pairs = zip(loras, factors, strict=True)
        return tuple(lora.strength * (1.0 if factor is None else factor(level)) for lora, factor in pairs)

    return at


class WeightChange:
    """Be one parameter's weight wrapper: W -> W_eff."""

    def __init__(self, delta: FusedDelta, strengths: Strengths) -> None:
        self._delta = delta
        self._strengths = strengths
        self._home: torch.device | None = None

    def __call__(self, weight: Tensor) -> Tensor:
        # A new tensor: the one given may be the loaded weight itself.
        changed = self._delta.changed_weight(weight, self._strengths)
        if self._home is not None and self._home.type != weight.device.type:
            self._delta.move_to(self._home)  # ComfyUI took the layer's memory back; nothing of it stays behind
        return changed

    def move_to(self, device: torch.device) -> int:
        """Follow the layer's weight to `device`; return the bytes for ComfyUI to count there."""
        self._home = device
        return self._delta.move_to(device)


class CountedChange:
    """Be a weight wrapper that changes nothing, and lets ComfyUI count what an injection holds for a layer."""

    def __init__(self, deltas: Sequence[FusedDelta]) -> None:
        self._deltas = deltas

    def __call__(self, weight: Tensor) -> Tensor:
        return weight

    def move_to(self, device: torch.device) -> int:
        return sum(delta.move_to(device) for delta in self._deltas)


@dataclass(frozen=True, eq=False)
class BoundStack:
    """Be all that a stack adds to one model, whatever its strengths.

    Attributes:
        wrappers: parameter key -> its weight wrapper.
        injection: puts the rest in place, and takes it away.
        uuid: ComfyUI's name for the model's weights with this stack on them.
    """

    strengths: Strengths
    deltas: tuple[FusedDelta, ...]
    wrappers: Mapping[str, WeightChange | CountedChange]
    injection: PatcherInjection
    uuid: uuid.UUID

    def leave(self, device: torch.device) -> None:
        """Give up what is held on other devices than `device`."""
        for delta in self.deltas:
            delta.move_to(device)


#: Alive for as long as a MODEL or the loaded model holds it.
_BOUND: weakref.WeakValueDictionary[tuple[object, ...], BoundStack] = weakref.WeakValueDictionary()


def _bound(patcher: ModelPatcher, loras: Sequence[RoutedLora], spec: ModelSpec) -> BoundStack:
    """Return what this stack adds to this model: found again, or made now."""
    key = (id(patcher.model), patcher.patches_uuid, tuple(_identity(lora) for lora in loras))
    bound = _BOUND.get(key)
    if bound is None:
        bound = _BOUND[key] = _make(patcher, loras, spec)
    return bound


def _identity(lora: RoutedLora) -> tuple[object, ...]:
    """Return what tells one LoRA's changes from another's; strength and schedule do not."""
    path = lora.weights.path
    status = None if path is None else path.stat()
    file = id(lora.weights) if status is None else (str(path), status.st_size, status.st_mtime_ns)
    return file, lora.made_for, tuple(lora.factors.items())


def _make(patcher: ModelPatcher, loras: Sequence[RoutedLora], spec: ModelSpec) -> BoundStack:
    network = network_of(patcher)
    strengths = Strengths([lora.strength for lora in loras])
    wrappers: dict[str, WeightChange | CountedChange] = {}
    injected: dict[str, dict[str, FusedDelta]] = {}
    everything = fused_deltas(network, loras, spec)
    for path, deltas in everything.items():
        module = network.get_submodule(path)
        for name, delta in deltas.items():
            if _takes_wrappers(module, name):
                wrappers[f"{_ROOT}.{path}.{name}"] = WeightChange(delta, strengths)
            else:
                injected.setdefault(path, {})[name] = delta
        if path in injected and hasattr(module, "weight_function"):
            wrappers.setdefault(f"{_ROOT}.{path}.weight", CountedChange(tuple(injected[path].values())))
    return BoundStack(
        strengths=strengths,
        deltas=tuple(delta for deltas in everything.values() for delta in deltas.values()),
        wrappers=wrappers,
        injection=_injection(injected, strengths),
        uuid=uuid.uuid4(),
    )


def _takes_wrappers(module: nn.Module, name: str) -> bool:
    """Say whether a layer hands this parameter through weight wrappers; other packs' layers, though derived, do not."""
    if type(module).__module__ != comfy.ops.__name__ or not hasattr(module, f"{name}_function"):
        return False
    return comfy.model_management.module_size(module) > _MIN_WRAPPED_BYTES


def _injection(injected: Mapping[str, Mapping[str, FusedDelta]], strengths: Strengths) -> PatcherInjection:
    """Return the injection that takes over the forward of these modules while the model is loaded."""
    installed: list[PatchedModule] = []

    def inject(patcher: ModelPatcher) -> None:
        scratch = Scratch()
        for path, deltas in injected.items():
            patched = patch(network_of(patcher).get_submodule(path), deltas, strengths, scratch=scratch)
            patched.install()
            installed.append(patched)

    def eject(patcher: ModelPatcher) -> None:
        while installed:
            installed.pop().remove()

    return PatcherInjection(inject, eject)


def _with_strengths(
    bound: BoundStack, at: StrengthsAt, executor: Callable[..., Tensor], x: Tensor, t: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """Run the network at noise level `t` with the strengths that belong to it."""
    values = at(float(t.flatten()[0]))
    if values != bound.strengths.values:
        bound.strengths.set(values)
    return executor(x, t, *args, **kwargs)


def _on_detach(bound: BoundStack, patcher: ModelPatcher, unpatch_all: bool) -> None:
    """Leave the device together with the model."""
    if unpatch_all:
        bound.leave(patcher.offload_device)


def _on_clone(patcher: ModelPatcher, clone: ModelPatcher) -> None:
    """Let a clone of a loaded MODEL inject for itself; it would believe that it already had."""
    clone.is_injected = False
