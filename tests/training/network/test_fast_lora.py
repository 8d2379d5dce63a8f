"""The LoRA product by hand: it is peft's, in values and gradients."""

from __future__ import annotations

import pytest
import tiny
import torch
from peft.tuners.lora.layer import Linear as PeftLora
from torch import nn
from trainees import call, gradients, stir

from lora_core.families.wan.open import open_wan
from lora_core.training.network.fast_lora import FastLora, lora_linear
from lora_core.training.network.trainee import Trainee, make_trainee
from lora_core.training.settings.adapter import AdapterSettings

LORA = AdapterSettings(rank=4, alpha=3)


def with_pefts_own(trainee: Trainee) -> Trainee:
    """Give the layers of a trainee peft's own forward back."""
    for module in trainee.network.modules():
        if type(module) is FastLora:
            module.__class__ = PeftLora
    return trainee


def both(settings: AdapterSettings = LORA, dtype: torch.dtype = torch.float32) -> tuple[Trainee, Trainee]:
    """Return the same trainee with the fast product and with peft's."""
    base = tiny.transformer() if dtype == torch.float32 else open_wan("pocket", dtype=dtype).expert("high_noise")
    fast, peft = make_trainee(base, settings), with_pefts_own(make_trainee(base, settings))
    for trainee in (fast, peft):
        stir(trainee)
    assert any(type(module) is FastLora for module in fast.network.modules())
    return fast, peft


def test_values_and_gradients_are_pefts_to_the_rounding_of_float32() -> None:
    fast, peft = both()
    torch.testing.assert_close(call(fast.network), call(peft.network), rtol=1e-5, atol=1e-5)
    ours, theirs = gradients(fast), gradients(peft)
    for name, gradient in theirs.items():
        assert gradient.any(), name
        assert (ours[name] - gradient).norm() < 1e-5 * gradient.norm(), name


def test_on_a_narrow_base_they_are_pefts_to_the_rounding_of_its_dtype() -> None:
    fast, peft = both(dtype=torch.bfloat16)
    ours, theirs = gradients(fast, torch.bfloat16), gradients(peft, torch.bfloat16)
    for name, gradient in theirs.items():
        assert ours[name].dtype == torch.float32
        assert (ours[name] - gradient).norm() < 0.05 * gradient.norm(), name


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_gradients_are_those_of_finite_differences(has_bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 4, bias=has_bias).double().requires_grad_(False)
    x, down, up = (torch.randn(*shape, dtype=torch.float64).requires_grad_() for shape in ((2, 3, 5), (2, 5), (4, 2)))
    assert torch.autograd.gradcheck(lambda x, down, up: lora_linear(x, down, up, 0.7, layer), (x, down, up))


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    layer = nn.Linear(5, 4).requires_grad_(False)
    x, down, up = torch.randn(3, 5), torch.randn(2, 5, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    lora_linear(x, down, up, 0.7, layer).sum().backward()
    assert x.grad is None
    assert down.grad is not None


@pytest.mark.parametrize("asked", ["dropout", "autocast", "disabled", "hook"])
def test_what_it_does_not_know_is_left_to_peft(asked: str) -> None:
    fast, peft = both(AdapterSettings(rank=4, dropout=0.5) if asked == "dropout" else LORA)
    outputs = []
    for trainee in (fast, peft):
        module = trainee.network.get_submodule("blocks.0.attn1.to_q")
        if asked == "dropout":
            trainee.network.train()
        if asked == "disabled":
            module.enable_adapters(False)
        if asked == "hook":
            module.base_layer.register_forward_hook(lambda _, inputs, output: output + 1)
        torch.manual_seed(1)
        x = torch.randn(3, tiny.WIDTH)
        with torch.autocast("cpu", torch.bfloat16, enabled=asked == "autocast"):
            outputs.append(module(x))
    assert torch.equal(*outputs)


@pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
def test_a_compiled_network_makes_the_same_gradients() -> None:
    plain, compiled = make_trainee(tiny.transformer(), LORA), make_trainee(tiny.transformer(), LORA)
    for trainee in (plain, compiled):
        stir(trainee)
    for block in compiled.network.blocks[:1]:
        block.compile(backend="aot_eager", fullgraph=True)
    ours, theirs = gradients(compiled), gradients(plain)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-6)
