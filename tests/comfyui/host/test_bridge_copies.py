"""Where a weight wrapper may write W_eff: over the copy that ComfyUI made for it, and over nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from native import bound, predict
from torch import Tensor
from wanloom.lora_core import LoraStack
from wanloom.nodes import bridge

as_in_a_node = native.as_in_a_node
host = native.host
KEY = "diffusion_model.blocks.0.self_attn.q.weight"


@pytest.fixture
def model(host: native.Host) -> ModelPatcher:
    return host.model()


@pytest.fixture
def stack(tmp_path: Path) -> LoraStack:
    tensors = lora_kinds.layer_tensors(lora_kinds.lora)
    return LoraStack().add(lora_kinds.save(tmp_path / "style.safetensors", tensors), 0.5)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """What wrappers are called with, and what they return."""
    calls: list[tuple[Tensor, Tensor]] = []
    call = bridge.WeightChange.__call__

    def watched(self: bridge.WeightChange, weight: Tensor) -> Tensor:
        calls.append((weight, call(self, weight)))
        return calls[-1][1]

    monkeypatch.setattr(bridge.WeightChange, "__call__", watched)
    return calls


def parameters(patcher: ModelPatcher) -> dict[str, Tensor]:
    return dict(patcher.model.diffusion_model.named_parameters())


def test_w_eff_is_written_over_the_hosts_copy_and_the_loaded_weights_stay(
    model: ModelPatcher, stack: LoraStack, given: list[tuple[Tensor, Tensor]]
) -> None:
    before = {name: tensor.clone() for name, tensor in parameters(model).items()}
    addresses = {tensor.data_ptr() for tensor in parameters(model).values()}
    predict(bound(model, stack))
    assert given
    assert all(result is weight for weight, result in given)
    assert not addresses & {weight.data_ptr() for weight, _ in given}
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(model).items())


def test_what_another_packs_wrapper_returns_is_only_read(model: ModelPatcher, stack: LoraStack) -> None:
    kept: list[Tensor] = []

    def other(weight: Tensor) -> Tensor:
        kept[:] = kept or [weight.clone()]
        return kept[0]

    model.add_weight_wrapper(KEY, other)
    patched = bound(model, stack)
    first, before = predict(patched), kept[0].clone()
    assert torch.equal(predict(patched), first)
    assert torch.equal(kept[0], before)


def test_under_dynamic_vram_the_weight_given_is_only_read(
    model: ModelPatcher, stack: LoraStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "is_dynamic", lambda: True)
    (wrapper,) = bound(model, stack).weight_wrapper_patches[KEY]
    weight = parameters(model)[KEY.removeprefix("diffusion_model.")].detach()
    before = weight.clone()
    assert not torch.equal(wrapper(weight), before)
    assert torch.equal(weight, before)


@pytest.mark.parametrize("lay_out", [torch.Tensor.contiguous, lambda weight: weight.T.contiguous().T])
def test_the_layout_of_the_weight_makes_no_difference(
    model: ModelPatcher, stack: LoraStack, lay_out: Callable[[Tensor], Tensor]
) -> None:
    (wrapper,) = bound(model, stack).weight_wrapper_patches[KEY]
    weight = parameters(model)[KEY.removeprefix("diffusion_model.")].detach()
    wanted = wrapper(weight.clone())
    assert torch.equal(wrapper(lay_out(weight.clone())), wanted)
