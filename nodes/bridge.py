"""The bridge to ComfyUI's models: a stack of LoRAs bound to a clone of a MODEL, the MODEL itself left as it was.

Three of ComfyUI's own mechanisms carry it:

- *weight wrappers*: ComfyUI's layers cast their weight at every call and hand the cast value through functions. One
  such function per layer adds the whole stack (`lora_core.apply.fused`, the weight side). This works with fp16, bf16,
  fp8 with and without scales, offloading and partial loading, because it sits behind all of them.
- an *injection*, in place while the model is loaded, for what takes no weight wrapper: layers of other packs (GGUF),
  small vectors (norms), tables that belong to no layer (`modulation`), and whatever a LoRA with a region or a time
  changes, as a weight is the same for all tokens.
- an *APPLY_MODEL wrapper*, which sets the strengths from the noise level, and the masks from the latents, before each
  call of the network.

What a stack adds to a model depends on its files and filters, and on which of them have a mask, not on its strengths,
schedules and masks. So it is made once and found again for as long as any MODEL, or the loaded model itself, still
holds it: a changed strength changes a few numbers, and ComfyUI sees the weights it has loaded as the weights it needs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.ops
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, PatcherInjection, WrappersMP
from torch import Tensor

from ..lora_core import ModelSpec, RoutedLora
from ..lora_core.apply.fused import Strengths
from ..lora_core.apply.layers import Scratch, patch
from ..lora_core.apply.patched import PatchedModule
from ..lora_core.families.base import parameter_shapes
from ..lora_core.families.registry import infer_spec
from ..lora_core.plan.route import strengths_at
from .bound_stack import BOUND, CHANGES, BoundStack, CountedChange, WeightChange, bound_stack, network_of
from .call_masks import CallMasks, call_masks
from .noise_levels import level_of

#: Where ComfyUI keeps the network inside its model.
ROOT = "diffusion_model"

#: sigma -> the strength of each LoRA.
StrengthsAt = Callable[[float], tuple[float, ...]]


def spec_of(patcher: ModelPatcher, *, num_experts: int | None, where: object) -> ModelSpec:
    """Read off a MODEL's parameters which model it is; None experts where nobody knows how many there are."""
    return infer_spec(parameter_shapes(network_of(patcher)), num_experts=num_experts, where=where)


def bind(
    patcher: ModelPatcher,
    loras: Sequence[RoutedLora],
    spec: ModelSpec,
    sigmas: Sequence[float],
    *,
    follows_run: bool = False,
) -> ModelPatcher:
    """Return a clone of a MODEL on which LoRAs act; the MODEL itself, where none does.

    Args:
        patcher: the MODEL of one expert.
        loras: those routed to this expert.
        spec: what the model is called.
        sigmas: the noise levels of the whole run, which schedules that count steps are placed on.
        follows_run: place them on the levels of the run itself where it has as many steps.
    """
    if not loras:
        return patcher
    stack = bound_stack(patcher, loras, spec)
    clone = patcher.clone()
    for key, wrapper in _wrappers(stack, patcher).items():
        clone.add_weight_wrapper(key, wrapper)
    # Whatever its strengths, this stack on these weights is one state of the model to ComfyUI.
    clone.patches_uuid = stack.uuid
    clone.size = patcher.model_size() + stack.num_bytes
    key = f"wanloom.{stack.uuid}"
    clone.set_injections(key, [_injection(stack)])
    num_levels = len(sigmas) if follows_run else 0
    at_work = AtWork(stack, tuple(loras), spec, strengths_at(loras, sigmas), num_levels, masks=call_masks(loras, spec))
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, at_work)
    clone.add_callback_with_key(CallbacksMP.ON_DETACH, key, partial(_on_detach, stack))
    clone.add_callback_with_key(CallbacksMP.ON_CLONE, key, _on_clone)
    return clone


def unbound(patcher: ModelPatcher) -> tuple[ModelPatcher, AtWork | None]:
    """Return a MODEL without the stack that `bind` put on it, and that stack; the MODEL itself where there is none."""
    at_work = stack_on(patcher)
    if at_work is None:
        return patcher, None
    clone, key = patcher.clone(), f"wanloom.{at_work.stack.uuid}"
    others = {
        name: [one for one in wrappers if not isinstance(one, CHANGES)]
        for name, wrappers in patcher.weight_wrapper_patches.items()
    }
    clone.weight_wrapper_patches = {name: wrappers for name, wrappers in others.items() if wrappers}
    clone.remove_injections(key)
    clone.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, key)
    for call in (CallbacksMP.ON_DETACH, CallbacksMP.ON_CLONE):
        clone.remove_callbacks_with_key(call, key)
    clone.patches_uuid = uuid.uuid4()
    clone.size = patcher.model_size() - at_work.stack.num_bytes
    return clone, at_work


def stack_on(patcher: ModelPatcher) -> AtWork | None:
    """Return the stack that `bind` put on a MODEL, or None."""
    found = [one for ones in patcher.wrappers.get(WrappersMP.APPLY_MODEL, {}).values() for one in ones]
    return next((one for one in found if isinstance(one, AtWork)), None)


def strengths_of(patcher: ModelPatcher) -> Strengths:
    """Return the strengths of the stack that `bind` put on this MODEL, which all its clones share."""
    (stack,) = [found for found in BOUND.values() if found.uuid == patcher.patches_uuid]
    return stack.strengths


def with_shift(patcher: ModelPatcher, shift: float) -> ModelPatcher:
    """Return a clone of a MODEL whose schedules have this shift, as core's ModelSamplingSD3 makes it."""

    class Sampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    sampling = Sampling(patcher.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    clone = patcher.clone()
    clone.add_object_patch("model_sampling", sampling)
    return clone


def patched_shift(patcher: ModelPatcher) -> float | None:
    """Return the shift that another node gave to a MODEL's schedules, or None."""
    sampling = patcher.object_patches.get("model_sampling")
    shift = getattr(sampling, "shift", None)
    return float(shift) if isinstance(shift, (int, float)) else None


@dataclass(frozen=True, eq=False)
class AtWork:
    """A stack bound to a MODEL, which gives it the strengths of the noise level before each call of the network.

    Attributes:
        num_levels: how many levels a run has whose own ones schedules are placed on; 0 for those of the plan always.
        masks: of the LoRAs that act on a part of the clip; None where there are none.
    """

    stack: BoundStack
    loras: tuple[RoutedLora, ...]
    spec: ModelSpec
    strengths_at: StrengthsAt
    num_levels: int = 0
    masks: CallMasks | None = None

    def __call__(self, executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        sampling = executor.class_obj.model_sampling
        strengths, options = self.strengths_at, _options(*args, **kwargs)
        run = options.get("sample_sigmas") if self.num_levels else None
        if run is not None and len(run) == self.num_levels:
            strengths = strengths_at(self.loras, [level_of(sampling, sigma) for sigma in run.tolist()])
        values = strengths(level_of(sampling, float(t.flatten()[0])))
        if values != self.stack.strengths.values:
            self.stack.strengths.set(values)
        if self.masks is not None and self.stack.masked is not None:
            self.stack.masked.tell(self.masks.of(x, options))
        return executor(x, t, *args, **kwargs)


def _options(
    c_concat: object = None,
    c_crossattn: object = None,
    control: object = None,
    transformer_options: Mapping[str, Any] | None = None,
    **conditions: object,
) -> Mapping[str, Any]:
    """Return the options among what the host calls a model with, behind latents and sigma."""
    return transformer_options or {}


def _wrappers(stack: BoundStack, patcher: ModelPatcher) -> dict[str, WeightChange | CountedChange]:
    """Return parameter key -> its weight wrapper."""
    wrappers: dict[str, WeightChange | CountedChange] = {}
    for (path, name), delta in stack.wrapped.items():
        key = f"{ROOT}.{path}.{name}"
        wrappers[key] = WeightChange(stack, delta, takes_copies=_hands_over_copies(patcher, key))
    for path, deltas in stack.injected.items():
        if hasattr(network_of(patcher).get_submodule(path), "weight_function"):
            wrappers.setdefault(f"{ROOT}.{path}.weight", CountedChange(stack, tuple(deltas.values())))
    return wrappers


def _hands_over_copies(patcher: ModelPatcher, key: str) -> bool:
    """Say whether the first wrapper of a parameter is called with a copy of it, made for that call.

    ComfyUI copies a weight before it calls wrappers, as its own change weights in place; the dynamic VRAM loader does
    not. What another pack's wrapper returns may be anything.
    """
    return not patcher.is_dynamic() and key not in patcher.weight_wrapper_patches


def _injection(stack: BoundStack) -> PatcherInjection:
    """Return the injection that takes over the forward of some modules while the model is loaded."""
    installed: list[PatchedModule] = []

    def inject(patcher: ModelPatcher) -> None:
        scratch = Scratch()
        for path, deltas in stack.injected.items():
            patched = patch(network_of(patcher).get_submodule(path), deltas, stack.strengths, scratch=scratch)
            patched.install()
            installed.append(patched)
        for patched in [] if stack.masked is None else stack.masked.patches(scratch):
            patched.install()
            installed.append(patched)

    def eject(patcher: ModelPatcher) -> None:
        while installed:
            installed.pop().remove()

    return PatcherInjection(inject, eject)


def _on_detach(stack: BoundStack, patcher: ModelPatcher, unpatch_all: bool) -> None:
    """Leave the device when the MODEL does, or when it is dropped: who unloads the model then knows of no stack."""
    for delta in stack.deltas:
        delta.leave_all_but(patcher.offload_device)


def _on_clone(patcher: ModelPatcher, clone: ModelPatcher) -> None:
    """Let a clone of a loaded MODEL inject for itself; it would believe that it already had."""
    clone.is_injected = False
