"""The masks of a stack in the host: those of the latents that each call of a network is given.

A call tells the size of its latents and, where the host samples in context windows, which frames of the clip they are;
so no node has to be told the clip beforehand, and a window has the masks of its own frames.

Letters: F H W latent frames, rows and columns of latents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..lora_core import ModelError, ModelSpec, RoutedLora
from ..lora_core.apply.fused import FusedDelta, Strengths
from ..lora_core.apply.layers import Scratch, patch
from ..lora_core.apply.masking import Changes, Placing
from ..lora_core.apply.masks import Masks
from ..lora_core.apply.patched import PatchedModule
from ..lora_core.checks import shape_text
from ..lora_core.regions.clip_mask import ClipSize, clip_masks
from ..lora_core.wording import said

#: The latents' axis of frames.
_FRAMES = 2


class MaskedPart:
    """What the masked LoRAs of a stack add to one network, whatever their masks are.

    Args:
        network: the network.
        loras: the whole stack on it.
        strengths: those of the stack.
        terms: module path -> parameter name -> all changes of the stack.

    Attributes:
        for_weights: module path -> parameter name -> the changes that the weights can hold for all tokens.
        num_bytes: of the changes that the weights cannot hold.
    """

    def __init__(
        self,
        network: nn.Module,
        loras: Sequence[RoutedLora],
        spec: ModelSpec,
        strengths: Strengths,
        terms: Mapping[str, Changes],
    ) -> None:
        names = _places(loras)
        until_told = {name: torch.ones(1, 1, 1) for name, lora in zip(names, loras, strict=True) if lora.is_masked}
        self._masks = Masks(strengths, names, until_told)
        self._told: Mapping[str, Tensor] = until_told
        self._whole = Placing(network, spec, self._masks, patch)
        self.for_weights, self._for_patches = self._whole.apart(terms)
        changes = [term for parameters in self._for_patches.values() for ones in parameters.values() for term in ones]
        self.num_bytes = sum(term.delta.num_bytes for term in changes)

    def tell(self, masks: Mapping[str, Tensor]) -> None:
        """Take the masks of the next call, unless they are those of the last."""
        if masks is not self._told:
            self._masks.set(masks)
            self._told = masks

    def patches(self, scratch: Scratch) -> list[PatchedModule]:
        """Return the patches to install in this order and to remove in the other."""
        return replace(self._whole, patch=_on_activations(scratch), beside=self.for_weights).patches(self._for_patches)


@dataclass(frozen=True, eq=False)
class CallMasks:
    """The masks of one stack, for whatever latents a call is given; each made once.

    Attributes:
        loras: those of the stack on one network, masked or not.
        spec: what the network is called; times in seconds count its usual frames per second.
    """

    loras: Sequence[RoutedLora]
    spec: ModelSpec
    _whole: dict[tuple[int, int, int], Mapping[str, Tensor]] = field(default_factory=dict, init=False)
    _parts: dict[tuple[object, ...], Mapping[str, Tensor]] = field(default_factory=dict, init=False)

    def of(self, x: Tensor, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return place in the stack -> mask of each masked LoRA, for latents (B, C, F, H, W) and the call's options."""
        if x.ndim != 5:
            what = said("a region or a time on latents of {size}", size=shape_text(tuple(x.shape)))
            raise ModelError(
                self.spec.title, what, expected="(B, C, F, H, W)", remedy="Take regions and times off the stack"
            )
        num_frames, rows, columns = x.shape[2:]
        window = options.get("context_window")
        if window is None:
            return self._of_clip(num_frames, rows, columns)
        indices = _frames_of(window, num_frames)
        key = (window.total_frames, rows, columns, indices)
        if key not in self._parts:
            whole = self._of_clip(window.total_frames, rows, columns)
            self._parts[key] = {name: _frames(mask, indices, self.spec) for name, mask in whole.items()}
        return self._parts[key]

    def _of_clip(self, num_frames: int, rows: int, columns: int) -> Mapping[str, Tensor]:
        key = (num_frames, rows, columns)
        if key not in self._whole:
            with torch.inference_mode(False):
                masks = clip_masks(self.loras, _clip(num_frames, rows, columns, self.spec), self.spec)
            named = zip(_places(self.loras), self.loras, strict=True)
            self._whole[key] = {place: masks[lora.name] for place, lora in named if lora.is_masked}
        return self._whole[key]


def clip_of_latents(latents: Tensor, spec: ModelSpec) -> ClipSize:
    """Return the clip that latents (B, C, F, H, W) make, at the model's usual frames per second."""
    return _clip(*latents.shape[2:], spec)


def call_masks(loras: Sequence[RoutedLora], spec: ModelSpec) -> CallMasks | None:
    """Return the masks of a stack, None where none of its LoRAs has one."""
    return CallMasks(tuple(loras), spec) if any(lora.is_masked for lora in loras) else None


def _clip(num_frames: int, rows: int, columns: int, spec: ModelSpec) -> ClipSize:
    stride, height, width = spec.vae_stride
    return ClipSize((num_frames - 1) * stride + 1, rows * height, columns * width, spec.default_clip.fps)


def _places(loras: Sequence[RoutedLora]) -> list[str]:
    """Return what tells the LoRAs of a stack apart; a pair on one network has one name twice."""
    return [str(place) for place in range(len(loras))]


def _on_activations(scratch: Scratch) -> Callable[[nn.Module, Mapping[str, FusedDelta], Strengths], PatchedModule]:
    """Return what patches a module that no mask divides, on the activation side: the weight is the host's to cast."""
    return lambda module, deltas, strengths: patch(module, deltas, strengths, "activation", scratch)


def _frames_of(window: Any, num_frames: int) -> tuple[int, ...]:
    """Return the latent frames of the clip that a context window of the host's holds."""
    anchor = getattr(window, "causal_anchor_index", None)
    indices = tuple(window.index_list) if anchor is None or anchor < 0 else (anchor, *window.index_list)
    if window.dim != _FRAMES or len(indices) != num_frames:
        raise ModelError(
            "context window",
            said("it has {count} latent frames, and its call {frames}", count=len(indices), frames=num_frames),
            expected="windows of the clip's frames, without pictures that ride along",
            remedy="Take regions and times off the stack, or sample without windows",
        )
    return indices


def _frames(mask: Tensor, indices: tuple[int, ...], spec: ModelSpec) -> Tensor:
    depth = spec.patch_size[0]
    return mask[list(indices)] if depth == 1 else mask.repeat_interleave(depth, 0)[list(indices)][::depth]
