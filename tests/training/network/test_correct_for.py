"""A QLoRA written for the base as it was opened: on what it reads, it does there what it did on the rounded one."""

import pytest
import tiny
import torch
from trainees import learn

from lora_core.errors import TrainingError
from lora_core.families.wan.names import to_native
from lora_core.training.config import make_config
from lora_core.training.network.packed import PackedLinear
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings

QLORA = AdapterSettings(method="qlora", base="fp8", rank=4)


def test_every_layer_is_corrected_against_its_own_packed_weight():
    trainee = make_trainee(tiny.transformer(0), QLORA)
    mending = make_trainee(tiny.transformer(0), AdapterSettings(method="qlora", base="fp8", rank=4, correct_for="full"))
    for each in (trainee, mending):
        learn(each, 8)
    plain, mended = trainee.deltas(), mending.deltas()
    assert list(plain) == list(mended)
    state = {str(to_native(name)): value for name, value in tiny.transformer(0).state_dict().items()}
    packed = {layer.target: mending.network.get_submodule(layer.path).get_base_layer() for layer in mending.layers}
    for target, delta in mended.items():
        assert isinstance(packed[target], PackedLinear)
        full, rounded = state[f"{target}.weight"], packed[target].dequantised_weight(torch.float32)
        read = torch.randn(8, plain[target].rank) @ plain[target].down
        wanted = read @ (rounded + plain[target].dense()).T
        error, before = (float((read @ (full + change.dense()).T - wanted).norm()) for change in (delta, plain[target]))
        assert error < before / 2
        assert delta.rank == plain[target].rank


def test_without_it_what_was_trained_is_what_is_written():
    trainee = make_trainee(tiny.transformer(0), QLORA)
    learn(trainee, 2)
    name = "blocks.0.self_attn.q"
    assert torch.equal(trainee.deltas()[name].down, trainee.weights[f"{name}.lora_A"])


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"correct_for": "full"}, "correct_for: would do nothing without a rounded base"),
        ({"method": "qlora", "correct_for": "half"}, "correct_for: unknown value 'half'"),
        ({"method": "qlora", "adapter": "dora", "correct_for": "full"}, "correct_for: dora has no row space"),
    ],
)
def test_where_it_cannot_act_it_is_refused(given, error):
    with pytest.raises(TrainingError, match=error):
        make_config({"clips": "x", "name": "n", **given})
