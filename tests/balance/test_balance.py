import dataclasses
import json
import re

import numpy as np
import pytest
import tiny
import torch
from made_stacks import PAIR, TARGETS, loaded, lora, weights
from tiny_loras import save_lora

import lora_core
from lora_core import GenerationRequest, LoraStack, balance_stack, load_stack, open_wan, wan_spec
from lora_core.balance.alone import load_alone
from lora_core.balance.proposal import BUDGET
from lora_core.deltas import Lora
from lora_core.errors import LoraMismatchError, PlanError, StackError
from lora_core.families.wan.pocket import pocket_lora

SINGLE = dataclasses.replace(PAIR, name="wan2.1-t2v-14b", title="Wan 2.1 T2V 14B", boundary=None)


@pytest.fixture(scope="module")
def pocket():
    return open_wan("pocket")


def scaled(deltas, factor, scale=1.0):
    """Return changes multiplied in their factors, and divided in what stands beside them as alpha."""
    return {t: Lora(d.down, d.up * factor, scale=d.scale * scale) for t, d in deltas.items()}


def rules(balance):
    return {(advice.entry, advice.rule) for advice in balance.findings}


def test_a_file_with_other_numbers_for_the_same_change_gets_the_same_advice(pocket):
    deltas = [lora(i, 1.0 + i) for i in range(3)]
    plain = balance_stack(loaded(*(weights(f"l{i}", d) for i, d in enumerate(deltas))), pocket)
    other = balance_stack(loaded(*(weights(f"l{i}", scaled(d, 8, 1 / 8)) for i, d in enumerate(deltas))), pocket)
    assert [row.after for row in plain.proposal.strengths] == [row.after for row in other.proposal.strengths]
    assert plain.proposal.changes_anything
    assert plain.text() == other.text()


@pytest.mark.parametrize("factor", [1.0, 8.0])
def test_a_lora_and_its_negative_are_named_and_so_is_a_duplicate_also_a_scaled_one(factor):
    deltas = lora(0)
    balance = balance_stack(
        loaded(
            weights("one", deltas),
            weights("negative", scaled(deltas, -factor)),
            weights("copy", scaled(deltas, factor)),
            weights("other", lora(1)),
        )
    )
    assert {("one", "opposite"), ("one", "duplicate"), ("negative", "opposite")} <= rules(balance)
    assert not any(entry == "other" for entry, rule in rules(balance) if rule != "drowns")
    told = next(advice.text for advice in balance.findings if advice.rule == "duplicate")
    assert "copy does on high_noise (alignment 1.00)" in told
    assert f"{1 / factor:.3g} times as large" in told
    assert f"strength {1 + 1 / factor:.3g}" in told


def test_a_negative_strength_turns_a_duplicate_into_the_opposite():
    deltas = lora(0)
    balance = balance_stack(loaded((weights("one", deltas), 1.0), (weights("copy", deltas), -0.5)))
    assert ("one", "opposite") in rules(balance)
    assert not balance.proposal.changes_anything or balance.proposed is not balance.loaded


def test_two_that_pull_against_each_other_are_named_with_the_layer():
    first, second = lora(0), lora(1)
    against = {
        t: Lora(torch.cat([d.down, first[t].down]), torch.cat([d.up, first[t].up * w], dim=1))
        for (t, d), w in zip(second.items(), (-0.1, -0.9, -0.1), strict=True)
    }
    balance = balance_stack(loaded(weights("first", first), weights("second", against), spec=SINGLE))
    (found,) = [advice for advice in balance.findings if advice.rule == "fight"]
    assert found.entry == "first"
    assert "against second (alignment -0.17), most" in found.text
    assert "most of all in blocks.2.ffn.0" in found.text
    assert "expert" not in str(balance.text())


def test_one_that_drowns_the_others_is_named():
    balance = balance_stack(loaded(weights("loud", lora(0, 6.0)), weights("a", lora(1)), weights("b", lora(2))))
    assert rules(balance) >= {("loud", "drowns")}
    assert not {("a", "drowns"), ("b", "drowns")} & rules(balance)


def test_independent_loras_of_one_size_are_lowered_to_the_budget_and_no_further():
    made = [weights(f"l{i}", lora(i)) for i in range(3)]
    balance = balance_stack(loaded(*made))
    afters = [row.after for row in balance.proposal.strengths]
    assert afters == pytest.approx([BUDGET / 3**0.5] * 6, abs=0.03)
    again = balance_stack(balance.proposed)
    assert not again.proposal.changes_anything
    assert (None, "overload") not in rules(again)


def test_one_that_is_too_small_to_count_is_neither_lowered_nor_makes_room():
    small = weights("detail", lora(7, 0.05))
    alone, three = loaded(weights("a", lora(0)), small), [weights(f"l{i}", lora(i)) for i in range(3)]
    assert not balance_stack(alone).proposal.changes_anything
    proposed = balance_stack(loaded(*three, small)).proposed.stack
    assert proposed["detail"].strength == 1
    assert proposed["l0"].strength == balance_stack(loaded(*three)).proposed.stack["l0"].strength < 1


def test_one_content_lora_is_left_as_it_is_however_strong():
    balance = balance_stack(loaded((weights("alone", lora(0)), 3.0), weights("speed_4steps", lora(1))))
    assert not balance.proposal.changes_anything
    assert "proposed strengths: those there are" in balance.text()


def test_the_speed_lora_is_never_touched_however_large():
    rows = [weights("lightx2v_speed", lora(9, 50.0)), *(weights(f"l{i}", lora(i)) for i in range(3))]
    balance = balance_stack(loaded(*rows))
    speed = [row for row in balance.proposal.strengths if row.purpose == "speed"]
    assert [(row.before, row.after) for row in speed] == [(1.0, 1.0)] * 2
    assert balance.proposed.stack["lightx2v_speed"].strength == 1.0
    assert balance.proposed.stack["l0"].strength < 0.7
    assert "stays at 1 (speed)" in balance.text()


def test_proposed_strengths_keep_each_expert_its_own_and_the_rest_of_the_row():
    stack = LoraStack()
    for i in range(3):
        own = dataclasses.replace(weights(f"l{i}", lora(i)), low_noise_deltas=lora(i, 1.0, targets=TARGETS[:1]))
        stack = stack.add(own, 1.0, low_noise_strength=0.3, target_filter="ffn=0.5", schedule="fade_out")
    balance = balance_stack(load_stack(stack, PAIR))
    row = balance.proposed.stack["l0"]
    assert row.strength < 0.8
    assert row.low_noise_strength == 0.3
    assert (row.schedule, row.target_filter) == (stack["l0"].schedule, stack["l0"].target_filter)
    assert balance.proposed.stack["l1"].low_noise_strength == 0.3


def test_a_lora_that_is_off_or_at_zero_is_no_part_of_it():
    off = dataclasses.replace(LoraStack().add(weights("off", lora(3))).entries[0], enabled=False)
    stack = LoraStack().add(weights("a", lora(0))).add(weights("b", lora(1)), 0.0).add(off)
    balance = balance_stack(load_stack(stack, PAIR))
    assert [row.name for row in balance.proposal.strengths] == ["a", "a"]
    assert balance.proposed.stack["b"].strength == 0


def test_files_alone_tell_experts_apart_or_count_as_for_one_network(tmp_path):
    pair = load_alone(LoraStack().add(pocket_lora("neon_style")))
    assert balance_stack(pair).experts.keys() == {"high_noise", "low_noise"}
    one = load_alone(
        LoraStack().add(save_lora(tmp_path / "one.safetensors")).add(save_lora(tmp_path / "two.safetensors", 1))
    )
    assert balance_stack(one).experts.keys() == {"low_noise"}


def test_loras_of_models_of_different_sizes_are_refused_by_name(tmp_path):
    stack = LoraStack().add(save_lora(tmp_path / "small.safetensors")).add(pocket_lora("neon_style"), name="neon")
    with pytest.raises(LoraMismatchError, match=r"neon: its change of blocks.* is 128x128, and another LoRA .* 64x64"):
        balance_stack(load_alone(stack))


def test_a_stack_of_nothing_is_refused():
    with pytest.raises(StackError, match=r"^stack: no LoRA of it acts \(one LoRA or more\)\. Add one, or turn one on"):
        balance_stack(load_stack(LoraStack(), PAIR))


def test_without_a_base_the_report_says_so_and_with_one_sizes_are_by_its_weights(pocket):
    stack = loaded(weights("a", lora(0)), weights("b", lora(1)))
    alone, based = balance_stack(stack), balance_stack(stack, pocket)
    assert "no base model was given" in alone.text()
    assert "no base model was given" not in based.text()
    network = pocket.at_rest("low_noise").module
    path, _ = PAIR.parameter_path(TARGETS[0], network)
    relative = lora(0)[TARGETS[0]].norm() / float(network.get_submodule(path).weight.float().norm())
    layers = based.to_dict()["experts"]["low_noise"]["layers"]
    assert layers[TARGETS[0]][0] == pytest.approx(relative, rel=1e-4)


def test_the_record_is_plain_and_whole(pocket):
    balance = balance_stack(loaded(weights("a", lora(0)), weights("b", lora(1))), pocket)
    read = json.loads(json.dumps(balance.to_dict()))
    assert set(read) == {"model", "experts", "findings", "proposal"}
    assert np.array(read["experts"]["high_noise"]["alignment"]).shape == (2, 2)


def test_a_dry_step_measures_what_layers_put_out_and_leaves_the_network_as_it_was(pocket):
    stack = LoraStack().add(pocket_lora("zibbo_character")).add(pocket_lora("neon_style"))
    request = GenerationRequest("a zibbo moves right", num_frames=5, num_steps=4)
    before = [dict(module._forward_hooks) for module in pocket.expert("low_noise").modules()]
    balance = balance_stack(load_stack(stack, pocket.spec), pocket, request=request, sigmas={"low_noise": 0.5})
    assert before == [dict(module._forward_hooks) for module in pocket.expert("low_noise").modules()]
    outputs = balance.experts["low_noise"].outputs
    assert outputs.sigma == 0.5
    assert len(outputs.gram.targets) == 60
    sizes, weighed = outputs.gram.sizes([1, 1]), balance.experts["low_noise"].weights.sizes([1, 1])
    assert sizes.tolist() == pytest.approx(weighed.tolist(), rel=0.4)
    assert "at 0.5" in balance.text()
    with pytest.raises(PlanError, match=re.escape("sigma: 0.2 is no noise level of the high_noise expert (0.875")):
        balance_stack(load_stack(stack, pocket.spec), pocket, request=request, sigmas={"high_noise": 0.2})
    with pytest.raises(StackError, match="dry step: there is no opened model"):
        balance_stack(load_stack(stack, pocket.spec), request=request)


@pytest.mark.parametrize("count", [2, 12])
def test_the_conflict_map_is_drawn_for_few_and_many(count, tmp_path):
    rows = [weights(f"a rather long name of a LoRA ${i}_x$", lora(i, 1 + i)) for i in range(count)]
    balance = balance_stack(loaded(*rows))
    assert balance.image().shape[2] == 3
    assert balance.save_map(tmp_path / "map.png").stat().st_size > 10_000


def test_the_verb_is_public():
    assert lora_core.balance_stack is balance_stack
    assert wan_spec("wan-pocket").num_experts == 2


@pytest.mark.parametrize("form", ["fp8", "gguf"])
def test_sizes_are_by_the_weights_of_a_packed_base_too(form, tmp_path):
    save = {"fp8": lambda path: tiny.save_fp8(tiny.transformer(), path, "scaled"), "gguf": save_gguf}[form]
    model = open_wan(save(tmp_path / f"base.{'gguf' if form == 'gguf' else 'safetensors'}"))
    stack = load_stack(LoraStack().add(save_lora(tmp_path / "lora.safetensors")), model.spec)
    packed, plain = balance_stack(stack, model), balance_stack(stack, {"low_noise": tiny.transformer()})
    sizes = [b.experts["low_noise"].weights.layer_sizes([1.0])[:, 0].tolist() for b in (packed, plain)]
    assert len(sizes[0]) == 3
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def save_gguf(path):
    pytest.importorskip("gguf")
    return tiny.save_gguf(tiny.transformer(), path)


def test_a_row_that_acts_in_a_part_of_the_clip_is_said_to_count_as_if_everywhere():
    stack = LoraStack().add("zibbo_character", region="left").add("neon_style")
    told = balance_stack(load_stack(stack, wan_spec("wan-pocket"))).text()
    assert "note: zibbo_character act in a part of the clip, and count here as if everywhere" in told
