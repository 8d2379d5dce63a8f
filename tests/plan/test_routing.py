import dataclasses
import logging

import pytest
import torch
from loading import routed
from safetensors.torch import save_file

from lora_core.deltas import Lora
from lora_core.errors import LoraFileError, LoraMismatchError, StackError
from lora_core.families.wan.spec import wan_grammar, wan_spec
from lora_core.files.weights import LazyDeltas, LoraWeights
from lora_core.plan.routing import route
from lora_core.stack.entry import LoraEntry
from lora_core.stack.loading import load_stack
from lora_core.stack.stack import LoraStack

PAIR = wan_spec("wan-pocket")
T2V = dataclasses.replace(PAIR, name="wan2.2-t2v-a14b", title="Wan 2.2 T2V A14B")
SINGLE = dataclasses.replace(PAIR, name="wan2.1-t2v-14b", title="Wan 2.1 T2V 14B", boundary=None)
TARGETS = ("blocks.0.self_attn.q", "blocks.0.ffn.0", "blocks.5.cross_attn.k")


def delta(target, rank=2):
    rows, columns = PAIR.shapes[target]
    return Lora(torch.ones(rank, columns), torch.ones(rows, rank))


def lora(name="made", expert=None, *, targets=TARGETS, low=None, **fields):
    deltas = {target: delta(target) for target in targets}
    low_deltas = None if low is None else {target: delta(target) for target in low}
    return LoraWeights(None, name, deltas, low_deltas, expert=expert, **fields)


def write(path, targets=TARGETS, metadata=None):
    """Write a small LoRA file in ComfyUI's naming."""
    tensors = {}
    for target in targets:
        rows, columns = PAIR.shapes[target]
        tensors[f"diffusion_model.{target}.lora_A.weight"] = torch.full((2, columns), 0.1)
        tensors[f"diffusion_model.{target}.lora_B.weight"] = torch.full((rows, 2), 0.1)
    save_file(tensors, path, metadata)
    return path


def names(acting):
    return [lora.name for lora in acting]


def rules(acting):
    return {advice.rule for advice in acting.advice}


# ---------------------------------------------------------------------------------------------- experts


@pytest.mark.parametrize(
    ("applies_to", "hint", "high", "low"),
    [
        ("auto", "high_noise", True, False),
        ("auto", "low_noise", False, True),
        ("auto", "both", True, True),
        ("auto", None, True, True),
        ("both", "high_noise", True, True),
        ("high_noise", "low_noise", True, False),
        ("low_noise", None, False, True),
    ],
)
def test_applies_to_decides_and_auto_is_what_the_file_says(applies_to, hint, high, low):
    acting = routed(LoraStack().add(lora("a", hint), applies_to=applies_to), PAIR)
    assert (bool(acting.high_noise), bool(acting.low_noise)) == (high, low)


def test_a_pair_acts_each_file_on_its_expert_with_its_strength():
    high, low = lora("h", "high_noise"), lora("l", "low_noise")
    acting = routed(LoraStack().add(high, 0.8, low_noise=low, low_noise_strength=0.5), PAIR)
    assert [(x.weights.name, x.strength) for x in acting.high_noise] == [("h", 0.8)]
    assert [(x.weights.name, x.strength) for x in acting.low_noise] == [("l", 0.5)]


def test_a_file_of_both_experts_gives_each_its_half():
    weights = lora("a", "both", targets=TARGETS[:1], low=TARGETS[1:])
    acting = routed(LoraStack().add(weights), PAIR)
    assert set(acting.high_noise[0].deltas) == set(TARGETS[:1])
    assert set(acting.low_noise[0].deltas) == set(TARGETS[1:])


def test_a_route_keeps_the_stacks_order_and_leaves_disabled_rows_out():
    stack = LoraStack().add(lora("a")).add(lora("b")).add(lora("c"))
    stack = stack.replace("b", dataclasses.replace(stack["b"], enabled=False))
    acting = routed(stack, PAIR)
    assert names(acting.high_noise) == ["a", "c"]
    assert [x.index for x in acting.low_noise] == [0, 2]
    assert names(acting.for_expert("low_noise")) == names(acting.low_noise)


def test_a_disabled_row_is_not_even_read():
    stack = LoraStack((LoraEntry("gone", "nowhere.safetensors", enabled=False),))
    assert routed(stack, PAIR).all == ()


def test_an_empty_stack_routes_nothing():
    assert routed(LoraStack(), PAIR).all == ()


# ---------------------------------------------------------------------------------------------- one expert


def test_a_single_network_takes_the_low_noise_half_of_a_pair():
    stack = LoraStack().add(lora("h", "high_noise"), 0.8, low_noise=lora("l", "low_noise"), low_noise_strength=0.5)
    acting = routed(stack, SINGLE)
    assert acting.high_noise == ()
    assert [(x.weights.name, x.strength, x.expert) for x in acting.low_noise] == [("l", 0.5, "low_noise")]
    assert rules(acting) == {"half-of-pair"}


@pytest.mark.parametrize("applies_to", ["high_noise", "auto"])
def test_a_high_noise_lora_acts_on_a_single_network_with_advice(applies_to):
    acting = routed(LoraStack().add(lora("h", "high_noise"), applies_to=applies_to), SINGLE)
    assert names(acting.low_noise) == ["h"]
    assert "high-file-on-single-expert" in rules(acting)


# ---------------------------------------------------------------------------------------------- files and twins


def test_files_are_read_for_the_model_and_found_in_the_folders(tmp_path):
    write(tmp_path / "style.safetensors")
    acting = routed(LoraStack().add("style.safetensors"), PAIR, lora_folders=[tmp_path])
    assert set(acting.low_noise[0].deltas) == set(TARGETS)


def test_a_high_file_brings_its_twin_and_says_so(tmp_path):
    write(tmp_path / "zibbo_high_noise.safetensors")
    write(tmp_path / "zibbo_low_noise.safetensors", TARGETS[:1])
    acting = routed(LoraStack().add(tmp_path / "zibbo_high_noise.safetensors"), PAIR)
    assert set(acting.high_noise[0].deltas) == set(TARGETS)
    assert set(acting.low_noise[0].deltas) == set(TARGETS[:1])
    assert [advice.text for advice in acting.advice if advice.rule == "twin-found"] == [
        "its low-noise twin zibbo_low_noise.safetensors was found beside it and acts on the low-noise expert"
    ]


def test_the_search_for_twins_can_be_switched_off(tmp_path):
    high = write(tmp_path / "zibbo_high_noise.safetensors")
    write(tmp_path / "zibbo_low_noise.safetensors")
    for acting in (
        routed(LoraStack().add(high), PAIR, find_twins=False),
        routed(LoraStack().add(high, find_twin=False), PAIR),
        routed(LoraStack().add(high, applies_to="high_noise"), PAIR),
    ):
        assert acting.low_noise == ()
    assert routed(LoraStack().add(high), SINGLE).low_noise[0].weights.path.name == "zibbo_low_noise.safetensors"


def test_a_missing_twin_is_told_with_what_was_looked_for(tmp_path):
    high = write(tmp_path / "zibbo_HIGH.safetensors")
    acting = routed(LoraStack().add(high), PAIR)
    (advice,) = [advice for advice in acting.advice if advice.rule == "no-twin"]
    assert "looked for zibbo_LOW.safetensors" in advice.text


def test_a_pair_of_links_is_named_and_paired_by_the_names_of_the_links(tmp_path):
    loras = tmp_path / "loras"
    loras.mkdir()
    for expert, epoch in (("high", 10), ("low", 12)):
        (loras / f"zibbo_{expert}.safetensors").symlink_to(write(tmp_path / f"epoch{epoch}.safetensors"))
    acting = routed(LoraStack().add("zibbo_high.safetensors"), PAIR, lora_folders=[loras])
    assert names(acting.high_noise) == names(acting.low_noise) == ["zibbo_high"]
    assert [lora.weights.name for lora in acting.all] == ["zibbo_high", "zibbo_low"]


def test_a_file_with_a_row_of_its_own_is_nobodys_twin(tmp_path):
    high, low = (write(tmp_path / f"zibbo_{expert}.safetensors") for expert in ("high", "low"))
    stack = LoraStack().add(high, 0.8).add(low, 0.6)
    first = load_stack(LoraStack().add(high, 0.8), PAIR)
    for loaded in (load_stack(stack, PAIR), first.joined(load_stack(LoraStack().add(low, 0.6), PAIR))):
        acting = route(loaded, PAIR)
        assert [(lora.name, lora.strength) for lora in acting.high_noise] == [("zibbo_high", 0.8)]
        assert [(lora.name, lora.strength) for lora in acting.low_noise] == [("zibbo_low", 0.6)]
        assert rules(acting) == set()
    off = dataclasses.replace(stack["zibbo_low"], enabled=False)
    acting = route(load_stack(stack.replace("zibbo_low", off), PAIR), PAIR)
    assert names(acting.low_noise) == []
    assert "it acts on the high-noise expert only: its twin zibbo_low is off" in [a.text for a in acting.advice]


def test_a_low_file_alone_says_that_its_high_twin_does_not_act(tmp_path):
    write(tmp_path / "zibbo_high.safetensors")
    low = write(tmp_path / "zibbo_low.safetensors")
    acting = routed(LoraStack().add(low), PAIR)
    (advice,) = [advice for advice in acting.advice if advice.rule == "no-twin"]
    assert advice.text == (
        "it acts on the low-noise expert only: its high-noise twin zibbo_high.safetensors does not act. "
        "Name that file, which brings this one"
    )


def test_a_twin_of_another_step_or_folder_acts_and_is_told(tmp_path):
    high = write(tmp_path / "zibbo_high-step00002000.safetensors")
    write(tmp_path / "zibbo_low-step00001500.safetensors")
    acting = routed(LoraStack().add(high), PAIR)
    assert names(acting.low_noise) == ["zibbo_high-step00002000"]
    assert [advice.text for advice in acting.advice if advice.rule == "twin-elsewhere"] == [
        "its low-noise twin zibbo_low-step00001500.safetensors was found beside it, of another training step or day "
        "and acts on the low-noise expert"
    ]


def test_the_rows_own_name_tells_an_expert_where_the_file_does_not(tmp_path):
    write(tmp_path / "a.safetensors")
    rows = [{"name": "low_noise_model", "path": "a.safetensors", "strength": 1.0}]
    acting = routed(LoraStack.from_json(rows), PAIR, lora_folders=[tmp_path])
    assert (names(acting.high_noise), names(acting.low_noise)) == ([], ["low_noise_model"])
    assert "expert-by-row" in rules(acting)


def test_one_file_is_read_once_however_often_it_is_used(tmp_path):
    path = write(tmp_path / "style.safetensors")
    seen = []

    def read(file):
        seen.append(file)
        return dataclasses.replace(lora("style"), path=file)

    routed(LoraStack().add(path).add(path).add(path, low_noise=path), PAIR, read=read)
    assert seen == [path]


def test_a_loaded_stack_is_not_read_again(tmp_path):
    path = write(tmp_path / "style.safetensors")
    loaded = load_stack(LoraStack().add(path), PAIR)
    path.unlink()
    assert names(route(loaded, PAIR).all) == ["style", "style"]


def test_a_stack_that_is_not_loaded_is_refused_with_what_to_do():
    with pytest.raises(StackError, match=r"stack: its files have not been read\. Read them with load_stack"):
        route(LoraStack(), PAIR)


def test_a_stack_loaded_for_another_model_is_refused():
    loaded = load_stack(LoraStack().add(lora("a")), PAIR)
    with pytest.raises(StackError, match=r"its files were read for Wan pocket, not for Wan 2\.1 T2V 1\.3B\. Load it"):
        route(loaded, wan_spec("wan2.1-t2v-1.3b"))


def test_a_hash_in_a_stack_is_checked_before_the_file_is_read(tmp_path):
    path = write(tmp_path / "style.safetensors")
    with pytest.raises(StackError, match="a LoRA has changed"):
        routed(LoraStack((LoraEntry("style", path, sha256="0" * 64),)), PAIR)


def test_a_damaged_file_is_refused_when_it_is_routed(tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\0" * 64)
    with pytest.raises(LoraFileError, match=r"broken\.safetensors"):
        routed(LoraStack().add(path), PAIR)


# ---------------------------------------------------------------------------------------------- fit and filter


def test_weights_made_for_another_model_are_refused_with_the_targets():
    small = Lora(torch.ones(2, 64), torch.ones(64, 2))
    misfit = LoraWeights(None, "sdxl", {"blocks.0.self_attn.q": small, "down.0": small}, base="wan2.1-t2v-1.3b")
    with pytest.raises(
        LoraMismatchError,
        match=r"sdxl: does not fit Wan pocket: blocks\.0\.self_attn\.q is 64x64 instead of 128x128; "
        r"down\.0 is not in it \(it looks like one for wan2\.1-t2v-1\.3b\)\. Choose a LoRA made for this model\.",
    ):
        routed(LoraStack().add(misfit), PAIR)


def test_image_targets_on_a_text_model_are_left_out_and_counted():
    weights = lora("a", targets=TARGETS[:1])
    image = {"blocks.0.cross_attn.k_img": Lora(torch.ones(2, 128), torch.ones(128, 2))}
    acting = routed(LoraStack().add(dataclasses.replace(weights, deltas={**weights.deltas, **image})), PAIR)
    assert set(acting.high_noise[0].deltas) == set(TARGETS[:1])
    texts = [advice.text for advice in acting.advice if advice.rule == "not-applicable"]
    assert texts[0].startswith("1 of its 2 targets do not apply: the first belongs to the image branch")
    with pytest.raises(LoraMismatchError, match="none of its targets is in it"):
        routed(LoraStack().add(dataclasses.replace(weights, deltas=image)), PAIR)


def test_a_grammar_without_shapes_takes_every_size():
    assert len(routed(LoraStack().add(lora("a")), wan_grammar()).all) == 2


def test_a_filter_gives_targets_factors_and_takes_silent_ones_out():
    acting = routed(LoraStack().add(lora("a"), target_filter="0=0.5,ffn=0"), PAIR)
    assert acting.high_noise[0].factors == {"blocks.0.self_attn.q": 0.5, "blocks.5.cross_attn.k": 1.0}
    assert set(acting.high_noise[0].deltas) == set(acting.high_noise[0].factors)


def test_routing_reads_no_values():
    deltas = lora("a").deltas

    def fail(target):
        raise AssertionError(f"{target} was read")

    weights = LoraWeights(None, "lazy", LazyDeltas(deltas, fail))
    acting = routed(LoraStack().add(weights, target_filter="ffn=0"), PAIR)
    assert len(acting.high_noise[0].deltas) == 2


@pytest.mark.parametrize("text", ["40-50=0.5", "head=0"])
def test_a_filter_rule_without_a_target_is_told(text):
    acting = routed(LoraStack().add(lora("a"), target_filter=text), PAIR)
    (advice,) = [advice for advice in acting.advice if advice.rule == "filter-matches-nothing"]
    assert advice.text == f"the filter rule {text} matches none of its 3 targets. Correct it or leave it out"


def test_a_filter_that_leaves_nothing_is_told():
    acting = routed(LoraStack().add(lora("a"), target_filter="all=0"), PAIR)
    assert acting.all == ()
    assert "filter-leaves-nothing" in rules(acting)


# ---------------------------------------------------------------------------------------------- advice


def speed(name="speed", expert=None, **fields):
    return lora(name, expert, metadata={"kind": "speed"}, **fields)


def advice_of(rule, stack, spec=T2V):
    return [advice for advice in routed(stack, spec).advice if advice.rule == rule]


def test_a_sound_stack_gets_no_warning():
    stack = (
        LoraStack()
        .add(speed("s_h", "high_noise"), low_noise=speed("s_l", "low_noise"))
        .add(lora("z_h", "high_noise"), 0.9, low_noise=lora("z_l", "low_noise"))
    )
    assert [advice for advice in routed(stack, T2V).advice if advice.level == "warning"] == []


@pytest.mark.parametrize(("applies_to", "missing"), [("high_noise", "low_noise"), ("low_noise", "high_noise")])
def test_a_speed_lora_on_one_expert_only_is_told(applies_to, missing):
    (advice,) = advice_of("speed-on-one-expert", LoraStack().add(speed(), applies_to=applies_to))
    assert (advice.entry, advice.level) == ("speed", "warning")
    assert f"none on the {missing} one" in advice.text
    assert "lightx2v" in advice.evidence
    assert advice_of("speed-on-one-expert", LoraStack().add(speed()), SINGLE) == []


@pytest.mark.parametrize(
    "name",
    [
        "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise",
        "Wan2.2-Lightning_I2V-A14B-4steps-lora_HIGH_fp16",
        "Wan21_CausVid_14B_T2V_lora_rank32",
        "Wan22-I2V-A14B-HIGH-rCM6_0_lora_rank_64_bf16",
        "my_8step_distill",
    ],
)
def test_speed_loras_are_known_by_the_names_they_go_by(name):
    assert advice_of("speed-on-one-expert", LoraStack().add(lora(name), applies_to="high_noise"))


@pytest.mark.parametrize("name", ["zibbo-step00002000", "mystyle_e20", "lifestyle", "darcman", "arcmotions"])
def test_other_names_are_not_taken_for_speed_loras(name):
    assert not advice_of("speed-on-one-expert", LoraStack().add(lora(name), applies_to="high_noise"))


@pytest.mark.parametrize("applies_to", ["low_noise", "both"])
def test_a_high_file_in_the_low_slot_is_told(applies_to):
    weights = lora("z", "high_noise", expert_source="its name 'z_high'")
    (advice,) = advice_of("high-file-in-low-slot", LoraStack().add(weights, applies_to=applies_to))
    assert advice.text.startswith("a high-noise file (its name 'z_high') acts on the low-noise expert")


def test_a_swapped_pair_is_told_on_both_sides():
    stack = LoraStack().add(lora("a", "low_noise"), low_noise=lora("b", "high_noise"))
    assert {"high-file-in-low-slot", "low-file-in-high-slot"} <= rules(routed(stack, T2V))


def test_more_than_four_loras_on_an_expert_are_told_with_their_sum():
    stack = LoraStack()
    for i in range(4):
        stack = stack.add(lora(f"a{i}"), 0.5)
    assert advice_of("many-loras", stack) == []
    many = advice_of("many-loras", stack.add(lora("a4"), 0.5, applies_to="low_noise"))
    assert [advice.text for advice in many] == [
        "5 LoRAs of together 2.5 act on the low_noise expert; they may blur each other. Turn some off, or lower them"
    ]


@pytest.mark.parametrize(
    ("kind", "strength", "is_told"),
    [
        ("speed", 1, False),
        ("speed", 0.3, True),
        ("speed", -1, True),
        ("style", 0.8, False),
        ("style", 1.5, True),
        ("style", -0.8, False),
        ("character", 0.2, True),
        ("quality", 1.4, True),
        ("", 0.1, False),
        ("", 2.5, True),
    ],
)
def test_strengths_outside_the_usual_range_of_their_kind_are_told(kind, strength, is_told):
    stack = LoraStack().add(lora("a", "low_noise", metadata={"kind": kind}), strength)
    assert bool(advice_of("strength", stack)) == is_told


def test_the_peak_of_a_schedule_counts():
    weights = lora("a", "low_noise", metadata={"kind": "style"})
    assert advice_of("strength", LoraStack().add(weights, 0.8, schedule="linear:1:3"))


def test_a_turned_up_speed_lora_of_wan_21_is_usual_on_the_high_expert_only():
    stack = LoraStack().add(speed(base="wan2.1-t2v-14b"), 3, low_noise_strength=1)
    assert advice_of("strength", stack) == []
    assert advice_of("strength", LoraStack().add(speed(base="wan2.1-t2v-14b"), 1, low_noise_strength=3))


def test_strength_zero_is_noted():
    (advice,) = advice_of("zero-strength", LoraStack().add(lora("a", "low_noise"), 0))
    assert advice.level == "note"


@pytest.mark.parametrize(
    ("base", "spec", "rule"),
    [
        ("wan2.1-i2v-14b", T2V, "wan21-on-wan22"),
        ("wan2.1-14b", T2V, "wan21-on-wan22"),
        ("wan2.2-t2v-a14b", SINGLE, "wan22-on-wan21"),
        ("wan2.2-i2v-a14b", T2V, "other-task"),
    ],
)
def test_a_lora_of_another_wan_is_told(base, spec, rule):
    assert len(advice_of(rule, LoraStack().add(lora("a", base=base)), spec)) == 1


@pytest.mark.parametrize("base", [None, "wan-14b", "wan2.2-14b", "wan2.2-t2v-a14b"])
def test_a_lora_that_may_be_made_for_the_model_is_not(base):
    assert not {"wan21-on-wan22", "wan22-on-wan21", "other-task"} & rules(
        routed(LoraStack().add(lora("a", base=base)), T2V)
    )


def test_one_file_twice_is_told_with_the_sum(tmp_path):
    path = write(tmp_path / "style_low.safetensors")
    (advice,) = advice_of("same-file-twice", LoraStack().add(path, 0.5).add(path, 0.4))
    assert "style_low and style_low 2 are the same file" in advice.text
    assert "with 0.9 in all" in advice.text


def test_two_speed_loras_are_told_unless_they_are_blended():
    stack = LoraStack().add(speed("a")).add(speed("b"))
    assert len(advice_of("two-speed-loras", stack)) == 2
    assert advice_of("two-speed-loras", stack.blend("a", "b", 0.7)) == []


def test_a_file_that_names_no_expert_is_noted():
    assert len(advice_of("no-expert-hint", LoraStack().add(lora("a")))) == 1
    assert advice_of("no-expert-hint", LoraStack().add(lora("a"), applies_to="both")) == []


def test_a_low_noise_strength_that_nothing_uses_is_told():
    assert advice_of("unused-low-strength", LoraStack().add(lora("a", "high_noise"), low_noise_strength=0.5))
    assert advice_of("unused-low-strength", LoraStack().add(lora("a"), low_noise_strength=0.5)) == []


def test_notes_of_a_file_are_passed_on():
    (advice,) = advice_of("file", LoraStack().add(lora("a", notes=("alpha from adapter_config.json",))))
    assert (advice.entry, advice.text, advice.level) == ("a", "alpha from adapter_config.json", "note")


def test_advice_is_data_and_text():
    (advice,) = advice_of("zero-strength", LoraStack().add(lora("a", "low_noise"), 0))
    assert advice.to_dict()["rule"] == "zero-strength"
    assert (
        str(advice)
        == "note: a: strength 0 on low_noise: it does nothing. Raise it, or turn the row off [zero-strength]"
    )


def test_trigger_words_come_from_the_files_once_read():
    stack = LoraStack().add(lora("a", metadata={"trigger_words": "zibbo, neon"}))
    assert load_stack(stack, PAIR).loras[0].trigger_words == ("zibbo", "neon")


def test_nothing_is_logged_as_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        routed(LoraStack().add(lora("a")), PAIR)
    assert caplog.records == []
