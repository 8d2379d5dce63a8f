"""LoraBalance: what is measured on a MODEL of the host is what is measured headless, in any form of its weights."""

import json
from typing import Any

import nodes
import pytest
import torch
from wanloom.lora_core import (
    GenerationRequest,
    LoraStack,
    RequestError,
    StackError,
    balance_stack,
    load_stack,
    open_wan,
)
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes.balance import LoraBalance
from wanloom.nodes.dry_step import host_dry_step
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.sockets import WanModelHandle
from wanloom.nodes.stack import ApplyLoraStack

NAMES = ("speed_6steps", "neon_style", "zibbo_character", "orbit_motion")
ROWS = [{"path": f"{name}_high_noise.safetensors", "name": name} for name in NAMES]


PROMPT = "a zibbo moves right on a plain background"


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


def latent() -> dict[str, Any]:
    return {"samples": torch.zeros(1, 16, 5, 8, 8)}


@pytest.mark.parametrize(("weight_dtype", "tolerance"), [("default", 0.02), ("fp8_e4m3fn", 0.1)])
def test_a_dry_step_in_the_host_shows_what_it_shows_headless(weight_dtype: str, tolerance: float) -> None:
    handle = model(ROWS, weight_dtype)
    clip = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[1]
    (positive,) = nodes.CLIPTextEncode().encode(clip, PROMPT)
    with torch.inference_mode():
        stepped = host_dry_step(handle, positive, latent())
        report = LoraBalance.execute(handle, positive, latent()).args[1]
    assert stepped is not None
    opened, headless = open_wan("pocket"), LoraStack()
    for name in NAMES:
        headless = headless.add(pocket_lora(name), name=name)
    request = GenerationRequest(PROMPT, num_frames=17, height=64, width=64)
    wanted = balance_stack(load_stack(headless, opened.spec), opened, request=request).experts
    assert stepped.keys() == wanted.keys() == {"high_noise", "low_noise"}
    for expert, step in stepped.items():
        outputs, strengths = wanted[expert].outputs, wanted[expert].strengths
        assert outputs is not None
        assert step.sigma == pytest.approx(outputs.sigma, abs=1e-4)
        assert step.gram.sizes(strengths).tolist() == pytest.approx(
            outputs.gram.sizes(strengths).tolist(), rel=tolerance
        )
        assert f"at {step.sigma:.3f}".rstrip("0") in report


@pytest.mark.parametrize("given", ["positive", "latent"])
def test_half_of_a_dry_step_is_refused(given: str) -> None:
    with pytest.raises(RequestError, match=f"LoraBalance: {given} does nothing without"):
        LoraBalance.execute(model(ROWS[:1]), **{given: latent()})
