"""A checkpoint that PEFT itself wrapped, as NVIDIA's post-training does: what is read acts as PEFT's own layers."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import tiny_cosmos
import torch

from lora_core.apply.attachment import attach
from lora_core.errors import LoraMismatchError, ModelError
from lora_core.families.condition import Condition
from lora_core.families.cosmos.forward import forward
from lora_core.families.cosmos.names import to_native
from lora_core.families.cosmos.open import open_cosmos
from lora_core.families.registry import spec_of_module
from lora_core.files.post_trained import extract_post_trained
from lora_core.files.read import read_lora
from lora_core.files.stated import StatedLora
from lora_core.files.write import write_lora
from lora_core.plan.route import RoutedLora
from lora_core.stack.loading import load_stack
from lora_core.stack.stack import LoraStack

SPEC = spec_of_module(tiny_cosmos.transformer())
RANK, ALPHA = 4, 6
MODULES = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


def plain_network() -> torch.nn.Module:
    """Return the tiny network as we call it, with the padding mask among its input channels."""
    network = copy.deepcopy(tiny_cosmos.transformer())
    network.register_to_config(concat_padding_mask=False)
    return network


def post_trained() -> torch.nn.Module:
    """Return the tiny network with PEFT's layers around NVIDIA's six targets, as after a training."""
    from peft import LoraConfig, inject_adapter_in_model

    network = plain_network()
    network = inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES), network)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return network.requires_grad_(False).eval()


def native(name: str) -> str:
    """Return NVIDIA's name of a tensor in a network that PEFT wrapped."""
    for inner in (".base_layer.weight", ".lora_A.default.weight", ".lora_B.default.weight"):
        if name.endswith(inner):
            return f"{to_native(name.removesuffix(inner) + '.weight')}".removesuffix(".weight") + inner
    return f"{to_native(name)}"


def predict(network: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 16, 2, 8, 8, generator=generator)
    text = torch.randn(1, 512, tiny_cosmos.TEXT_WIDTH, generator=generator)
    with torch.no_grad():
        return forward(network, SPEC, x, 0.7, text, Condition(text, None))


def test_the_lora_inside_acts_as_pefts_own_layers(tmp_path: Path) -> None:
    trained = post_trained()
    path = tmp_path / "iter_000000300.pt"
    torch.save({f"net.{native(name)}": tensor for name, tensor in trained.state_dict().items()}, path)
    base = plain_network()
    stated = StatedLora(RANK, ALPHA, ("q_proj", "k_proj", "v_proj", "output_proj", "mlp.layer1", "mlp.layer2"))
    extracted = write_lora(extract_post_trained(path, stated=stated).weights, tmp_path / "lora.safetensors")
    expected, plain = predict(trained), predict(base)
    assert (expected - plain).abs().max() > 0.1
    for weights in (read_lora(path, spec=spec_of_module(base), stated=stated), read_lora(extracted)):
        routed = RoutedLora("style", 0, "low_noise", 1.0, weights.deltas, {}, weights, "low_noise")
        with attach(base, [routed]):
            torch.testing.assert_close(predict(base), expected, rtol=0, atol=1e-4)
    assert torch.equal(predict(base), plain)
    with pytest.raises(ModelError, match="it is a checkpoint with a LoRA inside, not a base: 20 of its weights"):
        open_cosmos(path)


def test_a_row_of_a_stack_may_be_the_checkpoint_and_what_is_stated_of_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "iter_000000300.pt"
    torch.save({f"net.{native(name)}": tensor for name, tensor in post_trained().state_dict().items()}, path)
    stack = LoraStack().add(path, 0.5)
    read = partial(read_lora, spec=SPEC, stated=StatedLora(alpha=ALPHA))
    lora = load_stack(stack, SPEC, read=read).loras[0]
    assert {delta.scale for delta in lora.weights.deltas.values()} == {ALPHA / RANK}
    assert {delta.scale for delta in load_stack(stack, SPEC).loras[0].weights.deltas.values()} == {1.0}
    with pytest.raises(LoraMismatchError, match="its rank is 4, and rank 16 was stated"):
        load_stack(stack, SPEC, read=partial(read_lora, spec=SPEC, stated=StatedLora(rank=16)))
