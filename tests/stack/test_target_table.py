"""What target filters say, in one table with the page's sliders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_core.errors import StackError
from lora_core.families.wan.spec import wan_spec
from lora_core.stack.target_filter import TargetFilter

#: Filters, the factors they give and the sliders that say them, which the tests of the page read too.
TABLE = json.loads((Path(__file__).parents[2] / "web/tests/targets.json").read_text(encoding="utf-8"))
SPEC = wan_spec("wan2.2-t2v-a14b")
PATHS = {
    "self_attn": "blocks.{}.self_attn.q.weight",
    "cross_attn": "blocks.{}.cross_attn.k.weight",
    "ffn": "blocks.{}.ffn.0.weight",
    "embedding": "patch_embedding.weight",
    "head": "head.head.weight",
}


def factor(targets: object, block: int | None, kind: str) -> float:
    target = PATHS[kind].format(block)
    assert SPEC.kind_of(target) == kind
    return TargetFilter.from_json(targets).factor(target, SPEC)


@pytest.mark.parametrize("case", TABLE["factors"], ids=lambda case: str(case["targets"]))
def test_a_filter_has_the_factors_of_the_shared_table(case: dict[str, object]) -> None:
    for block, kind, wanted in case["at"]:
        assert factor(case["targets"], block, kind) == pytest.approx(wanted)


@pytest.mark.parametrize("text", TABLE["faults"])
def test_a_filter_that_the_page_refuses_is_refused(text: str) -> None:
    with pytest.raises(StackError):
        TargetFilter.from_json(text)


@pytest.mark.parametrize("case", TABLE["sliders"], ids=lambda case: case["case"])
def test_what_the_sliders_write_is_what_they_stand_at(case: dict[str, object]) -> None:
    for place, group in enumerate(case["groups"]):
        block = place * case["num_blocks"] // len(case["groups"])
        for kind in ("self_attn", "cross_attn", "ffn"):
            assert factor(case["targets"], block, kind) == pytest.approx(group * case["kinds"].get(kind, 1))
