"""A stack whose files have been read: joined, changed and rerouted without reading anything again."""

from pathlib import Path

import pytest
import torch

from lora_core import Full, LoraStack, LoraWeights, StackError, StrengthSchedule, load_stack, wan_spec, write_lora

SPEC = wan_spec("wan-pocket")


def weights(name: str, value: float = 1.0) -> LoraWeights:
    return LoraWeights(None, name, {"blocks.0.ffn.0": Full(torch.full((512, 128), value))})


def loaded(*names: str):
    stack = LoraStack()
    for name in names:
        stack = stack.add(weights(name), name=name)
    return load_stack(stack, SPEC)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    for expert, value in (("high", 1.0), ("low", 2.0)):
        write_lora(weights("a", value), tmp_path / f"a_{expert}_noise.safetensors")
    return tmp_path / "a_high_noise.safetensors"


def test_a_pair_that_was_found_keeps_the_half_that_is_wanted(pair: Path) -> None:
    both = load_stack(LoraStack().add(pair, name="a"), SPEC)
    assert both.loras[0].entry.found_twin
    low = both.rerouted("a", "low_noise", StrengthSchedule.fade_out())
    (lora,) = low.loras
    assert lora.entry is low.stack["a"]
    assert (lora.entry.path.name, lora.entry.low_noise_path) == ("a_low_noise.safetensors", None)
    assert float(lora.weights.deltas["blocks.0.ffn.0"].diff[0, 0]) == 2.0
    assert list(lora.halves()) == ["low_noise"]
    assert both.rerouted("a", "both", None).loras[0].files == both.loras[0].files


def test_a_pair_that_was_given_is_not_torn_apart_quietly(pair: Path) -> None:
    stack = LoraStack().add(pair, name="a", low_noise=pair.with_name("a_low_noise.safetensors"))
    with pytest.raises(StackError, match="would do nothing"):
        load_stack(stack, SPEC).rerouted("a", "low_noise", None)


def test_a_row_that_is_off_is_not_read_and_can_be_rerouted(tmp_path: Path) -> None:
    stack = LoraStack.from_json([{"path": str(tmp_path / "gone.safetensors"), "name": "a", "enabled": False}])
    off = load_stack(stack, SPEC)
    assert (off.loras, off.find("a")) == ((), None)
    assert off.rerouted("a", "low_noise", None).stack["a"].applies_to == "low_noise"


def test_two_stacks_are_joined_under_names_of_their_own() -> None:
    joined = loaded("a", "b").joined(loaded("a"))
    assert [(lora.index, lora.name) for lora in joined.loras] == [(0, "a"), (1, "b"), (2, "a 2")]
    assert all(lora.entry is joined.stack.entries[lora.index] for lora in joined.loras)


def test_a_lora_takes_the_place_of_the_one_that_has_its_name() -> None:
    old, new = loaded("a", "b"), loaded("c", "a")
    updated = old.updated(new)
    assert [entry.name for entry in updated.stack] == ["a", "b", "c"]
    assert updated.find("a").weights is new.find("a").weights
    assert [lora.index for lora in updated.loras] == [0, 1, 2]


def test_a_lora_that_is_switched_off_gives_way_and_acts_no_more(tmp_path: Path) -> None:
    off = LoraStack.from_json([{"path": str(tmp_path / "gone.safetensors"), "name": "a", "enabled": False}])
    updated = loaded("a", "b").updated(load_stack(off, SPEC))
    assert [entry.enabled for entry in updated.stack] == [False, True]
    assert [(lora.index, lora.name) for lora in updated.loras] == [(1, "b")]


def test_loras_are_left_out_by_name_and_the_others_keep_their_rows() -> None:
    left = loaded("a", "b", "c").without("a")
    assert [(lora.index, lora.name) for lora in left.loras] == [(0, "b"), (1, "c")]
    with pytest.raises(StackError, match="no LoRA is named 'a'"):
        left.without("a")


def test_other_settings_keep_what_was_read() -> None:
    before = loaded("a", "b")
    after = before.with_settings(before.stack.blend("a", "b", 0.25))
    assert [lora.entry.strength for lora in after.loras] == [0.25, 0.75]
    assert [lora.weights for lora in after.loras] == [lora.weights for lora in before.loras]
