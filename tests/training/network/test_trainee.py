"""A network in training: what learns, what stays, and what the change it has learnt means."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from trainees import call, gradients, learn, stir, with_deltas

from lora_core.errors import TrainingError
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.open import open_wan
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import METHODS, AdapterSettings, Method
from lora_core.training.shards import whole

LORA = AdapterSettings(rank=4, alpha=3)


def test_an_untrained_adapter_changes_nothing_and_the_base_network_is_left_as_it_was() -> None:
    base = tiny.transformer()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    modules = [type(module) for module in base.modules()]
    trainee = make_trainee(base, LORA)
    with torch.no_grad():
        assert torch.equal(call(trainee.network), call(base))
    learn(trainee)
    assert [type(module) for module in base.modules()] == modules
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    assert not any(parameter.requires_grad for parameter in base.parameters())


def test_the_trainee_shares_the_base_weights_and_follows_them_to_rest_and_back() -> None:
    model: WanModel = open_wan("pocket", offload="experts")
    trainee = make_trainee(model.expert("high_noise"), LORA)
    with torch.no_grad():
        before = call(trainee.network)
        model.expert("low_noise")
        assert not model.experts["high_noise"].is_active
        model.expert("high_noise")
        assert torch.equal(call(trainee.network), before)
    shared = trainee.network.get_submodule("blocks.0.attn1.to_q").get_base_layer().weight
    assert shared is trainee.base.get_submodule("blocks.0.attn1.to_q").weight


def test_one_seed_gives_the_same_bits_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second, other = (make_trainee(tiny.transformer(), LORA, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    name = "blocks.1.ffn.2.lora_A"
    assert torch.equal(first.weights[name], second.weights[name])
    assert not torch.equal(first.weights[name], other.weights[name])
    assert list(first.weights) == list(second.weights)


def test_the_untrained_bits_do_not_depend_on_the_dtype_of_the_base() -> None:
    wide = make_trainee(pocket(torch.float32), LORA)
    narrow = make_trainee(pocket(torch.bfloat16), LORA)
    assert all(weight.dtype == torch.float32 for weight in narrow.weights.values())
    assert all(torch.equal(weight, wide.weights[name]) for name, weight in narrow.weights.items())


def pocket(dtype: torch.dtype) -> nn.Module:
    return open_wan("pocket", dtype=dtype).expert("high_noise")


def test_the_learnt_delta_is_the_scaled_product_and_makes_the_same_output_on_the_base() -> None:
    trainee = make_trainee(tiny.transformer(), LORA)
    learn(trainee)
    deltas = trainee.deltas()
    name = "blocks.1.cross_attn.v"
    product = trainee.weights[f"{name}.lora_B"] @ trainee.weights[f"{name}.lora_A"]
    torch.testing.assert_close(deltas[name].dense(), 3 / 4 * product.detach(), rtol=0, atol=1e-6)
    with torch.no_grad():
        changed = with_deltas(trainee.base, deltas)
        torch.testing.assert_close(call(changed), call(trainee.network), rtol=1e-5, atol=1e-5)


def test_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for on in (False, True):
        trainee = make_trainee(tiny.transformer(), LORA)
        trainee.checkpointing(on)
        call(trainee.network).square().mean().backward()
        gradients.append({name: weight.grad for name, weight in trainee.weights.items()})
    assert any(bool(gradient.any()) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_full_training_has_weights_of_its_own_and_tells_the_difference_to_the_base() -> None:
    base = tiny.transformer()
    before = base.state_dict()["blocks.0.attn1.to_q.weight"].clone()
    trainee = make_trainee(base, AdapterSettings(method="full"))
    assert len(trainee.weights) == len(list(base.parameters()))
    learn(trainee)
    assert torch.equal(base.state_dict()["blocks.0.attn1.to_q.weight"], before)
    weight = trainee.weights["blocks.0.self_attn.q.weight"]
    deltas = trainee.deltas()
    assert set(deltas) >= {"blocks.0.modulation", "blocks.0.self_attn.q.bias", "head.head"}
    torch.testing.assert_close(before + deltas["blocks.0.self_attn.q"].dense(), weight.detach())


def test_full_training_of_a_narrow_base_computes_narrow_and_learns_wide() -> None:
    trainee = make_trainee(pocket(torch.bfloat16), AdapterSettings(method="full", blocks="1"))
    assert all(weight.dtype == torch.float32 for weight in trainee.weights.values())
    assert all(name.startswith("blocks.1.") for name in trainee.weights)
    output = call(trainee.network, torch.bfloat16)
    output.float().square().mean().backward()
    assert output.dtype == torch.bfloat16
    assert all(weight.grad is not None for weight in trainee.weights.values())


def test_a_whole_network_at_rest_learns_without_its_base_on_the_device() -> None:
    model = open_wan("pocket", dtype=torch.bfloat16)
    piece = model.experts["low_noise"]
    trainee = make_trainee(piece.at_rest(), AdapterSettings(method="full"), device="cpu")
    call(trainee.network, torch.bfloat16).float().square().mean().backward()
    assert not piece.is_active
    assert all(weight.grad is not None for weight in trainee.weights.values())
    with torch.no_grad():
        torch.testing.assert_close(
            call(trainee.network, torch.bfloat16), call(model.expert("low_noise"), torch.bfloat16)
        )


def test_a_lora_shares_the_base_in_use_and_takes_none_at_rest() -> None:
    with pytest.raises(TrainingError, match="method lora: it shares the weights of the opened model"):
        make_trainee(open_wan("pocket").experts["low_noise"].at_rest(), LORA)


def test_a_network_with_offloaded_blocks_is_refused(some_accelerator: None) -> None:
    from diffusers.hooks import apply_group_offloading

    network = copy.deepcopy(tiny.transformer())
    cpu = torch.device("cpu")
    apply_group_offloading(network, cpu, cpu, "block_level", 1)
    with pytest.raises(TrainingError, match="offload blocks: a network whose blocks come and go"):
        make_trainee(network, LORA)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")  # the network's output is a view, and stays as it is
@pytest.mark.parametrize("method", METHODS)
def test_what_learns_keeps_its_names_and_gradients_when_the_network_is_sharded(method: Method) -> None:
    plain, sharded = (make_trainee(tiny.transformer(), AdapterSettings(method=method, rank=4)) for _ in range(2))
    for trainee in (plain, sharded):
        stir(trainee)
    for module in (*sharded.network.blocks, sharded.network):
        fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
    expected = gradients(plain)
    (call(sharded.network) - 1).square().mean().backward()
    for name, weight in sharded.weights.items():
        torch.testing.assert_close(whole(weight.grad), expected[name])
    ours, theirs = sharded.deltas(), plain.deltas()
    assert all(torch.equal(ours[target].dense(), theirs[target].dense()) for target in theirs)
