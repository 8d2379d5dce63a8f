"""Packed bases: what is packed, what it weighs, and that a LoRA learns on it as on the unpacked weights."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace

import pytest
import tiny
import torch
from torch import nn
from trainees import call, gradients, learn, stir, with_deltas

from lora_core.checkpoints.meter import MemoryMeter
from lora_core.errors import TrainingError
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.open import open_wan
from lora_core.training.network.packed import PackedLinear
from lora_core.training.network.trainee import Trainee, make_trainee
from lora_core.training.settings.adapter import ADAPTER_KINDS, AdapterKind, AdapterSettings, BaseFormat

FORMATS: tuple[BaseFormat, ...] = ("nf4", "int8", "fp8")
#: The relative error of a packed weight of normal numbers, as each form is known to have.
ERRORS = {"nf4": 0.12, "int8": 0.02, "fp8": 0.04}


def settings(base: BaseFormat, adapter: AdapterKind = "lora") -> AdapterSettings:
    return AdapterSettings(method="qlora", base=base, rank=4, adapter=adapter)


def packed_layers(network: nn.Module) -> dict[str, PackedLinear]:
    return {path: module for path, module in network.named_modules() if isinstance(module, PackedLinear)}


def unpacked(trainee: Trainee) -> nn.Module:
    """Return the base with the weights that the packed layers stand for."""
    base = copy.deepcopy(trainee.base)
    for path, layer in packed_layers(trainee.network).items():
        base.get_submodule(path.removesuffix(".base_layer")).weight.data = layer.dequantised_weight(torch.float32)
    return base


@pytest.mark.parametrize("adapter", ADAPTER_KINDS)
@pytest.mark.parametrize("base", FORMATS)
def test_gradients_are_those_of_the_same_adapter_on_the_unpacked_weights(
    base: BaseFormat, adapter: AdapterKind
) -> None:
    trainee = make_trainee(tiny.transformer(), settings(base, adapter))
    twin = make_trainee(unpacked(trainee), AdapterSettings(rank=4, adapter=adapter))
    for each in (trainee, twin):
        stir(each)
    ours, theirs = gradients(trainee), gradients(twin)
    worst = max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)
    assert worst < 1e-3


@pytest.mark.parametrize("base", FORMATS)
def test_the_linear_layers_of_the_blocks_are_packed_and_nothing_else(base: BaseFormat) -> None:
    network = tiny.transformer()
    trainee = make_trainee(network, settings(base))
    linear = {path for path, module in network.named_modules() if isinstance(module, nn.Linear)}
    packed = {path.removesuffix(".base_layer") for path in packed_layers(trainee.network)}
    assert packed == {path for path in linear if path.startswith("blocks.")}
    assert {"proj_out", "condition_embedder.time_proj"} <= linear - packed
    for path, layer in packed_layers(trainee.network).items():
        weight = network.get_submodule(path.removesuffix(".base_layer")).weight
        error = (layer.dequantised_weight(torch.float32) - weight).norm() / weight.norm()
        assert 0 < error < ERRORS[base]
        assert layer.packed.element_size() == 1


def test_layers_without_an_adapter_are_packed_all_the_same() -> None:
    trainee = make_trainee(
        tiny.transformer(), AdapterSettings(method="qlora", rank=4, targets=("self_attn",), blocks="1")
    )
    assert len(packed_layers(trainee.network)) == 20
    assert len(trainee.layers) == 4


@pytest.mark.parametrize(("base", "share"), [("nf4", 0.3), ("int8", 0.55), ("fp8", 0.55)])
def test_packed_weights_weigh_a_share_of_float16(base: BaseFormat, share: float) -> None:
    layer = PackedLinear(torch.randn(256, 512).half(), None, base)
    num_bytes = sum(t.numel() * t.element_size() for t in (*layer.parameters(), *layer.buffers()))
    assert num_bytes < share * 2 * 256 * 512


def test_the_opened_model_may_be_released_while_a_packed_network_trains() -> None:
    model: WanModel = open_wan("pocket", offload="experts")
    base = model.expert("high_noise")
    trainee = make_trainee(base, settings("nf4"))
    shared = {t.data_ptr() for t in (*base.parameters(), *base.buffers())}
    own = [t for t in (*trainee.network.parameters(), *trainee.network.buffers()) if t.numel()]
    assert not shared & {t.data_ptr() for t in own}
    model.release()
    learn(trainee, 1)


def test_no_unpacked_weight_is_kept_for_the_backward() -> None:
    layer = PackedLinear(torch.randn(512, 512), None, "nf4")
    x = torch.randn(2, 512, requires_grad=True)
    with MemoryMeter() as meter:
        y = layer(x)
        kept = meter.num_bytes
    assert kept < 512 * 512
    y.sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2, -1), rtol=1e-4, atol=1e-4)


def test_the_deltas_learnt_on_packed_weights_apply_to_the_base_they_stand_for() -> None:
    trainee = make_trainee(tiny.transformer(), settings("int8"))
    stir(trainee)
    with torch.no_grad():
        changed = with_deltas(unpacked(trainee), trainee.deltas())
        torch.testing.assert_close(call(changed), call(trainee.network), rtol=1e-4, atol=1e-4)


def test_a_narrow_base_is_unpacked_to_its_own_dtype() -> None:
    base = open_wan("pocket", dtype=torch.bfloat16).expert("high_noise")
    trainee = make_trainee(base, settings("nf4"))
    assert call(trainee.network, torch.bfloat16).dtype == torch.bfloat16
    assert {layer.weight.dtype for layer in packed_layers(trainee.network).values()} == {torch.bfloat16}


def test_a_row_of_zeros_stays_zero() -> None:
    weight = torch.randn(4, 64)
    weight[1] = 0
    for base in FORMATS:
        unpacked_weight = PackedLinear(weight, None, base).weight
        assert torch.isfinite(unpacked_weight).all()
        assert not unpacked_weight[1].any()


def test_a_missing_bitsandbytes_is_said_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(TrainingError, match=r"pip install 'wanloom\[train\]'"):
        make_trainee(tiny.transformer(), settings("nf4"))


@pytest.mark.parametrize("base", FORMATS)
def test_packed_weights_that_are_kept_off_the_device_are_brought_for_both_passes(base: BaseFormat) -> None:
    """The device is the CPU here; weights are copied to it all the same, whenever they are used."""
    plain = make_trainee(tiny.transformer(), settings(base))
    off = make_trainee(tiny.transformer(), replace(settings(base), offload=True))
    stir(plain), stir(off)
    for is_checkpointing in (False, True):
        plain.checkpointing(is_checkpointing), off.checkpointing(is_checkpointing)
        wanted = gradients(plain)
        assert all(torch.equal(gradient, wanted[name]) for name, gradient in gradients(off).items())


def test_packed_weights_that_are_kept_off_the_device_stay_where_they_are_when_the_rest_moves() -> None:
    trainee = make_trainee(tiny.transformer(), replace(settings("nf4"), offload=True))
    moved = set[int]()

    def may_move(tensor: torch.Tensor) -> bool:
        moved.add(id(tensor))
        return True

    trainee.to("cpu", may_move)
    layers = packed_layers(trainee.network).values()
    assert not moved & {id(part) for layer in layers for part in layer.parts_off()}
    assert moved >= {id(layer.bias) for layer in layers} | {id(weight) for weight in trainee.weights.values()}


def test_a_network_at_rest_packs_to_the_same_bits_and_never_comes_onto_the_device() -> None:
    model = open_wan("pocket", dtype=torch.bfloat16)
    piece = model.experts["high_noise"]
    rested = make_trainee(piece.at_rest(), settings("nf4"), device="cpu")
    assert not piece.is_active
    placed = make_trainee(model.expert("high_noise"), settings("nf4"))
    ours, theirs = rested.network.state_dict(), placed.network.state_dict()
    assert list(ours) == list(theirs)
    assert all(
        torch.equal(tensor, theirs[name]) and tensor.dtype == theirs[name].dtype for name, tensor in ours.items()
    )
