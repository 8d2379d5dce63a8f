"""The forms of an adapter: each starts as nothing, and its deltas are what peft computes with."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from trainees import call, learn, stir, with_deltas

from lora_core.deltas import Dora
from lora_core.errors import TrainingError
from lora_core.families.registry import spec_of_module
from lora_core.families.wan.open import open_wan
from lora_core.files.read import read_lora
from lora_core.files.weights import LoraWeights
from lora_core.files.write import write_lora
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings

FORMS = [
    AdapterSettings(rank=4, alpha=3),
    AdapterSettings(rank=4, alpha=3, rslora=True),
    AdapterSettings(adapter="dora", rank=4, alpha=3),
    AdapterSettings(adapter="loha", rank=4, alpha=3),
    AdapterSettings(adapter="lokr", rank=2, alpha=3),
    AdapterSettings(adapter="lokr", rank=8, alpha=3),  # factors stored in full
    AdapterSettings(rank=4, targets=(r"time_projection\.1", r"head\.head", "self_attn"), blocks=""),
]


def name_of(settings: AdapterSettings) -> str:
    return f"{settings.adapter}{'_rs' if settings.rslora else ''}_{settings.rank}_{settings.targets[0][:6]}"


@pytest.mark.parametrize("settings", FORMS, ids=name_of)
def test_the_written_deltas_on_the_base_make_the_output_of_the_trained_network(settings: AdapterSettings) -> None:
    base = tiny.transformer()
    trainee = make_trainee(base, settings)
    with torch.no_grad():
        torch.testing.assert_close(call(trainee.network), call(base), rtol=1e-5, atol=1e-6)
    stir(trainee)
    learn(trainee, 1)
    with torch.no_grad():
        before, trained = call(base), call(trainee.network)
        assert (trained - before).norm() > 0.01 * before.norm()
        torch.testing.assert_close(call(with_deltas(base, trainee.deltas())), trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", FORMS, ids=name_of)
def test_a_written_file_reads_back_to_the_same_change(settings: AdapterSettings, tmp_path: Path) -> None:
    trainee = make_trainee(tiny.transformer(), settings)
    stir(trainee)
    deltas = dict(trainee.deltas())
    path = write_lora(LoraWeights(path=None, name="made", deltas=deltas), tmp_path / "made.safetensors")
    read = read_lora(path).deltas
    assert set(read) == set(deltas)
    for target, delta in deltas.items():
        module_path, leaf = spec_of_module(trainee.base).parameter_path(target, trainee.base)
        base = trainee.base.get_submodule(module_path).get_parameter(leaf)
        torch.testing.assert_close(read[target].dense(base), delta.dense(base), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", FORMS, ids=name_of)
def test_one_seed_gives_the_same_bits_of_every_form(settings: AdapterSettings) -> None:
    first, second = (make_trainee(tiny.transformer(), settings, seed=5) for _ in range(2))
    other = make_trainee(tiny.transformer(), settings, seed=6)
    assert all(torch.equal(weight, second.weights[name]) for name, weight in first.weights.items())
    assert any(not torch.equal(weight, other.weights[name]) for name, weight in first.weights.items())


def test_rslora_scales_by_the_root_of_the_rank() -> None:
    plain, stabilised = (make_trainee(tiny.transformer(), settings).deltas() for settings in FORMS[:2])
    assert plain["blocks.0.ffn.0"].scale == 3 / 4
    assert stabilised["blocks.0.ffn.0"].scale == 3 / 2


def test_alpha_is_half_the_rank_unless_given() -> None:
    deltas = make_trainee(tiny.transformer(), AdapterSettings(rank=8)).deltas()
    assert {delta.scale for delta in deltas.values()} == {0.5}


def test_the_magnitude_of_an_untrained_dora_on_a_narrow_base_is_the_norm_in_float32() -> None:
    base = open_wan("pocket", dtype=torch.bfloat16).expert("high_noise")
    delta = make_trainee(base, AdapterSettings(adapter="dora", rank=4)).deltas()["blocks.0.ffn.0"]
    assert isinstance(delta, Dora)
    weight = base.get_submodule("blocks.0.ffn.net.0.proj").weight
    torch.testing.assert_close(delta.magnitude, weight.float().norm(dim=1))
    assert delta.magnitude.dtype == torch.float32


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"adapter": "loha", "rslora": True}, "rslora: loha has none (adapter lora or dora)"),
        ({"adapter": "lokr", "dropout": 0.1}, "dropout: lokr has none"),
        ({"method": "qlora", "base": "as_opened"}, "base: qlora is a LoRA on a quantised base (nf4, int8, fp8)"),
        ({"adapter": "loora"}, "nearest: 'lora'"),
    ],
)
def test_what_a_form_cannot_do_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError) as error:
        AdapterSettings(**keys)
    assert message in str(error.value)


def test_dropout_acts_while_training_alone() -> None:
    trainee = make_trainee(tiny.transformer(), AdapterSettings(rank=4, dropout=0.5))
    stir(trainee)
    trainee.network.train()
    with torch.no_grad():
        assert not torch.equal(call(trainee.network), call(trainee.network))
        trainee.network.eval()
        assert torch.equal(call(trainee.network), call(trainee.network))
