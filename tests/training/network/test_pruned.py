"""A narrower network to train on: the whole one with channels zeroed, its LoRA zero where they were cut."""

import copy

import pytest
import tiny
import torch
from trainees import call, learn, stir, with_deltas

from lora_core.errors import LoraCoreError, TrainingError
from lora_core.families.registry import spec_of_module
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.pruning import prune_width
from lora_core.training.config import make_config
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings


def network(num_heads=4):
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    module = WanTransformer3DModel(
        num_attention_heads=num_heads, attention_head_dim=32, text_dim=64, ffn_dim=96, num_layers=2
    )
    for parameter in module.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)  # gains and biases that are not all alike
    return module.requires_grad_(False)


def zeroed(module, kept, share):
    """Return the whole network with the cut channels zero, the norms of queries and keys by the root of the rest."""
    whole, spec = copy.deepcopy(module), spec_of_module(module)
    for target, layer in kept.items():
        owner = whole.get_submodule(spec.parameter_path(target, whole)[0])
        if layer.rows is not None:
            gone = torch.ones(owner.out_features, dtype=torch.bool).index_fill(0, layer.rows, False)
            owner.weight.data[gone] = 0
            owner.bias.data[gone] = 0
        if layer.columns is not None:
            gone = torch.ones(owner.in_features, dtype=torch.bool).index_fill(0, layer.columns, False)
            owner.weight.data[:, gone] = 0
    for block in whole.blocks:
        for attention in (block.attn1, block.attn2):
            for norm in (attention.norm_q, attention.norm_k):
                norm.weight.data *= (1 - share) ** 0.5
    return whole


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_narrow_network_is_the_whole_one_with_the_cut_channels_zero(share):
    whole = network().double()
    narrow = copy.deepcopy(whole)
    kept = prune_width(narrow, share)
    found = call(narrow, torch.float64)
    assert (found - call(zeroed(whole, kept, share), torch.float64)).abs().max() < 1e-6
    assert (found - call(whole, torch.float64)).abs().max() > 1e-3
    assert sum(p.numel() for p in narrow.blocks.parameters()) < (1 - share + 0.05) * sum(
        p.numel() for p in whole.blocks.parameters()
    )


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_lora_does_on_the_zeroed_network_what_it_learnt_on_the_narrow_one(method):
    """Scatter identity: the whole network with channels zeroed and the change equals the narrow one that learnt."""
    base, share = network(), 0.5
    settings = AdapterSettings(method=method, base="fp8", rank=4, prune_width=share)
    trainee = make_trainee(base, settings)
    stir(trainee)
    deltas = trainee.deltas()
    shapes = spec_of_module(base).shapes
    assert all(delta.shape == shapes[target] for target, delta in deltas.items())
    if method == "lora":
        changed = with_deltas(zeroed(base, trainee.kept, share), deltas)
        assert (call(trainee.network) - call(changed)).abs().max() < 1e-4
    for target, layer in trainee.kept.items():
        change = deltas[target].dense()
        rows, columns = (
            torch.ones(size, dtype=torch.bool).index_fill(0, indices, False)
            if indices is not None
            else torch.zeros(size, dtype=torch.bool)
            for size, indices in zip(change.shape, (layer.rows, layer.columns), strict=True)
        )
        assert rows.any() or columns.any()
        assert not change[rows].any()
        assert not change[:, columns].any()
        assert change.any()


def test_it_learns_and_leaves_the_base_as_it_was():
    base = network()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    trainee = make_trainee(base, AdapterSettings(rank=4, prune_width=0.5))
    first = (call(trainee.network) - 1).square().mean().item()
    learn(trainee, 12)
    assert (call(trainee.network) - 1).square().mean().item() < 0.9 * first
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    ours = {id(tensor) for tensor in trainee.network.parameters()}
    assert not ours & {id(tensor) for tensor in base.parameters()}


def test_a_model_at_rest_is_cut_in_the_dtype_it_computes_in():
    model = open_wan("pocket", dtype=torch.float32)
    trainee = make_trainee(model.at_rest("high_noise"), AdapterSettings(rank=4, prune_width=0.5))
    assert trainee.network.get_submodule("blocks.0.attn1.to_q").base_layer.weight.dtype == torch.float32
    assert trainee.network.blocks[0].attn1.heads == 2
    stir(trainee)
    assert trainee.deltas()["blocks.0.ffn.0"].shape == (512, 128)


def test_of_few_heads_one_stays():
    narrow = network(2)
    prune_width(narrow, 0.9)
    assert narrow.blocks[0].attn1.heads == 1
    assert call(narrow).isfinite().all()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"prune_width": 1.0}, "prune_width: 1"),
        ({"prune_width": 0.5, "adapter": "dora"}, "prune_width: the factors of a dora"),
        ({"prune_width": 0.5, "method": "full"}, "prune_width: would do nothing with method = full"),
        ({"prune_width": 0.5, "method": "qlora", "correct_for": "full"}, "prune_width: a correction needs"),
    ],
)
def test_where_it_cannot_act_it_is_refused(given, error):
    with pytest.raises(TrainingError, match=error):
        make_config({"clips": "x", "name": "n", **given})


def test_packed_weights_cannot_be_cut(tmp_path):
    packed = open_wan(tiny.save_fp8(tiny.transformer(0), tmp_path / "fp8.safetensors", "scaled"))
    with pytest.raises(LoraCoreError, match=r"prune_width: a ScaledFp8Linear of .* cannot be cut"):
        make_trainee(packed.at_rest("low_noise"), AdapterSettings(rank=4, prune_width=0.5))
