"""LoraBalance: what is measured on a MODEL of the host is what is measured headless, in any form of its weights."""

import json

import pytest
import torch
from wanloom.lora_core import LoraStack, StackError, balance_stack, load_stack, open_wan
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes.balance import LoraBalance
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.sockets import WanModelHandle
from wanloom.nodes.stack import ApplyLoraStack

NAMES = ("speed_6steps", "neon_style", "zibbo_character", "orbit_motion")
ROWS = [{"path": f"{name}_high_noise.safetensors", "name": name} for name in NAMES]


def model(rows: list[dict[str, object]], weight_dtype: str = "default") -> WanModelHandle:
    pocket = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, weight_dtype).args[0]
    return ApplyLoraStack.execute(pocket, json.dumps(rows)).args[0]


@pytest.mark.parametrize("weight_dtype", ["default", "fp8_e4m3fn"])
def test_the_node_says_what_is_said_headless(weight_dtype: str) -> None:
    picture, report, stack, balanced = LoraBalance.execute(model(ROWS, weight_dtype)).args
    headless = LoraStack()
    for name in NAMES:
        headless = headless.add(pocket_lora(name), name=name)
    opened = open_wan("pocket")
    wanted = balance_stack(load_stack(headless, opened.spec), opened)
    after = {row.name: row.after for row in wanted.proposal.strengths if row.expert == "high_noise"}
    assert {entry.name: entry.strength for entry in stack} == pytest.approx(after, abs=0.02)
    assert stack["speed_6steps"].strength == 1
    assert stack["neon_style"].strength < 0.8
    assert balanced.loaded.stack == stack
    assert "[overload]" in report
    assert picture.dtype == torch.float32
    assert picture.shape[0] == 1


def test_a_planted_conflict_is_named_in_the_host() -> None:
    rows = [*ROWS[1:3], {"path": ROWS[1]["path"], "name": "undone", "weight": -1.0}]
    assert "neon_style: it is the negative of undone on high_noise" in LoraBalance.execute(model(rows)).args[1]


def test_a_model_without_loras_is_refused() -> None:
    with pytest.raises(StackError, match="no LoRA of it acts"):
        LoraBalance.execute(model([]))
