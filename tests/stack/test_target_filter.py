import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import LoraCoreError, StackError
from lora_core.families.wan.spec import wan_spec
from lora_core.stack.target_filter import FilterRule, TargetFilter

WAN = wan_spec("wan2.2-t2v-a14b")
KINDS = ("self_attn", "cross_attn", "ffn", "norm", "modulation", "embedding", "head")

rules = st.builds(
    FilterRule,
    st.floats(-4, 4),
    st.none() | st.tuples(st.integers(0, 39), st.integers(0, 39)).map(lambda ends: tuple(sorted(ends))),
    st.none() | st.sampled_from(KINDS),
)
filters = st.builds(TargetFilter, st.lists(rules, max_size=5).map(tuple), st.floats(-4, 4))


@pytest.mark.parametrize(
    ("target", "kind", "block"),
    [
        ("blocks.0.self_attn.q", "self_attn", 0),
        ("blocks.12.self_attn.o.bias", "self_attn", 12),
        ("blocks.3.self_attn.norm_q", "norm", 3),
        ("blocks.3.cross_attn.k_img", "cross_attn", 3),
        ("blocks.3.cross_attn.norm_k_img", "norm", 3),
        ("blocks.39.ffn.0", "ffn", 39),
        ("blocks.7.norm3.bias", "norm", 7),
        ("blocks.7.modulation", "modulation", 7),
        ("head.modulation", "modulation", None),
        ("head.head", "head", None),
        ("patch_embedding", "embedding", None),
        ("text_embedding.2.bias", "embedding", None),
        ("time_projection.1", "embedding", None),
        ("img_emb.proj.0", "embedding", None),
        ("transformer_blocks.4.attn.to_q", "other", None),
    ],
)
def test_a_target_has_a_kind_and_a_block(target, kind, block):
    assert (WAN.kind_of(target), (WAN.block_of(target) or (None,))[0]) == (kind, block)


@pytest.mark.parametrize("name", ["wan2.2-t2v-a14b", "wan2.1-i2v-14b"])
def test_every_target_of_wan_has_a_kind(name):
    assert {WAN.kind_of(target) for target in wan_spec(name).shapes} == set(KINDS)


def test_each_rule_has_its_own_factor_and_matching_factors_multiply():
    chosen = TargetFilter.parse("0-9=0.5, cross_attn=0.3, 20-29.ffn=0")
    factors = {
        target: chosen.factor(target, WAN)
        for target in (
            "blocks.9.ffn.0",
            "blocks.9.cross_attn.q",
            "blocks.10.cross_attn.q",
            "blocks.20.ffn.2",
            "head.head",
        )
    }
    assert factors == {
        "blocks.9.ffn.0": 0.5,
        "blocks.9.cross_attn.q": pytest.approx(0.15),
        "blocks.10.cross_attn.q": 0.3,
        "blocks.20.ffn.2": 0,
        "head.head": 1,
    }


def test_otherwise_zero_makes_the_rules_a_list_of_what_acts():
    only = TargetFilter.parse("10-19=1,otherwise=0")
    assert [only.factor(f"blocks.{i}.ffn.0", WAN) for i in (9, 10, 19, 20)] == [0, 1, 1, 0]


def test_a_filter_without_rules_changes_nothing():
    assert TargetFilter().factor("blocks.0.ffn.0", WAN) == 1


@pytest.mark.parametrize("blocks", ["3-5", " 3 - 5 ", [3, 5], (3, 5)])
def test_block_ranges_are_read_from_text_and_pairs(blocks):
    assert FilterRule(1, blocks).blocks == (3, 5)


@given(filters)
def test_json_and_text_bring_back_the_same_filter(chosen):
    assert TargetFilter.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    assert TargetFilter.parse(str(chosen)) == chosen


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("fnn=0", r"target filter: unknown module kind 'fnn' \(nearest: 'ffn'\)\."),
        ("0-9.fnn=0", "unknown module kind 'fnn'"),
        ("other_wise=0", "nearest: 'otherwise'"),
        ("ffn", r"'ffn' in 'ffn' has no factor \(blocks\.kind=factor\)"),
        ("", "has no factor"),
        ("ffn=x", "'x' is not a number"),
        ("ffn=nan", "nan is not finite"),
        ("9-0=1", r"target filter blocks: '9-0' is no range \(first-last, such as \"0-9\", or one\)"),
        ("0-9-12=1", "'0-9-12' is no range"),
        ({"rule": []}, r"unknown key 'rule' \(nearest: 'rules'\)"),
        ({"rules": "ffn"}, "rules 'ffn' are no list"),
        ({"rules": ["ffn=0"]}, "rule 1: 'ffn=0' is no rule"),
        ({"rules": [{"kind": "ffn"}]}, "target filter rule 1: no factor"),
        ({"rules": [{"kinds": "ffn", "factor": 1}]}, r"rule 1: unknown key 'kinds' \(nearest: 'kind'\)"),
        ({"rules": [{"kind": "attn", "factor": 1}]}, "unknown value 'attn'"),
        ({"rules": [{"blocks": -1, "factor": 1}]}, "-1 is no range"),
        ({"rules": [{"blocks": True, "factor": 1}]}, "True is no range"),
        ({"rules": [{"blocks": [1.5, 3], "factor": 1}]}, "is no range"),
        ({"rules": [{"factor": "1"}]}, "'1' is not a number"),
        (0.5, "0.5 is no target filter"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(form, message):
    with pytest.raises(StackError, match=message):
        TargetFilter.from_json(form)


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{1,3}(-[0-9]{1,3})?(\.(ffn|norm))?=[0-9.]{1,4}"))
def test_any_text_is_read_or_refused_in_the_projects_form(text):
    try:
        chosen = TargetFilter.parse(text)
    except LoraCoreError:
        return
    assert TargetFilter.parse(str(chosen)) == chosen
