"""LoRAs in a part of the clip, on ComfyUI's models: as headless with the same masks, whatever else is on the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from native import NARROW, WIDE, bound, loaded, predict, relative_error, routed, spec_of
from torch import Tensor
from wanloom.lora_core import LoraStack
from wanloom.lora_core.apply.attachment import attach
from wanloom.lora_core.regions.clip_mask import ClipSize, clip_masks

as_in_a_node = native.as_in_a_node
host = native.host

#: What `native.start` gives a network: 2 latent frames of 6x4.
CLIP = ClipSize(5, 48, 32, 16.0)
KINDS: dict[str, Callable[..., dict[str, Tensor]]] = {**lora_kinds.FILES, **lora_kinds.BEYOND_CORE}


def headless(patcher: ModelPatcher, stack: LoraStack) -> Tensor:
    """Return what the same network predicts under `attach`, without the host's ways to change weights."""
    loras = routed(patcher, stack)
    native.unload()
    with attach(
        patcher.model.diffusion_model, loras, spec_of(patcher), masks=clip_masks(loras, CLIP, spec_of(patcher))
    ):
        return predict(patcher)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_lora_of_every_kind_beside_a_plain_one_acts_as_headless(
    host: native.Host, tmp_path: Path, kind: str, size: native.WanSize
) -> None:
    model = host.model(size)
    masked = lora_kinds.save(tmp_path / "masked.safetensors", KINDS[kind](size))
    plain = lora_kinds.save(tmp_path / "plain.safetensors", lora_kinds.layer_tensors(lora_kinds.dora, size, 3))
    base = predict(model)
    for stack in (
        LoraStack().add(masked, 0.7, region="left"),
        LoraStack().add(plain, 0.4).add(masked, 0.7, region="left", over_time="0f=0.2,4f=1"),
    ):
        expected = headless(model, stack)
        assert relative_error(expected, base) > 0.01
        assert relative_error(predict(bound(model, stack)), expected) < 1e-5
        assert torch.equal(predict(model), base)
