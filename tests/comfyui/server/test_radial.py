"""Radial attention in the page of a real browser: its wires, and what a run came to, shown at the node."""

import json
from pathlib import Path

from harness.canvas import Canvas
from harness.client import Client, Workflow
from harness.workflows import LATENT, LOADER, ROUTE, SAMPLER, node, pocket_workflow
from playwright.sync_api import expect

USUAL = {"decay": "usual", "first_steps": "2", "last_steps": "1", "first_blocks": "1", "executor": "auto"}


def long_workflow(seed: int = 7) -> Workflow:
    """Return 33 frames of the pocket model, whose steps 2 to 4 are radial in five of six blocks."""
    workflow = pocket_workflow(seed=seed)
    workflow[LATENT]["inputs"]["length"] = 33
    workflow["radial"] = node("RadialAttention", model=[ROUTE, 0], **USUAL)
    workflow[SAMPLER]["inputs"]["model"] = ["radial", 0]
    return workflow


def test_the_node_shows_what_ran(canvas: Canvas, tmp_path: Path) -> None:
    file = tmp_path / "radial.json"
    file.write_text(json.dumps(long_workflow()))
    canvas.drop(file)
    canvas.go_to("RadialAttention")
    canvas.queue()
    ran = canvas.page.get_by_role("log").filter(has_text="15 of 36 self-attentions were radial")
    expect(ran.first).to_contain_text("of the pairs of 9 latent frames are kept", timeout=180_000)
    expect(ran).to_have_count(2)  # at the node, and at the sampler behind its plan


def test_both_kinds_of_model_go_through_the_node(comfy: Client) -> None:
    split = {"split": node("SplitWanModel", model=["radial", 0]), "shown": node("PreviewAny", source=["radial", 1])}
    other = {
        "other": node("RadialAttention", model=["plain", 1], **USUAL),
        "plain": node("SplitWanModel", model=[LOADER, 0]),
    }
    used = {
        "used": node("ModelSamplingSD3", model=["other", 0], shift=5.0),
        "seen": node("PreviewAny", source=["used", 0]),
    }
    run = comfy.run(long_workflow(8) | split | other | used)
    assert run.error == {}
    told = [event for event in run.of_type("wanloom.report") if event["node"] == "radial"]
    assert "15 of 36 self-attentions were radial" in told[-1]["text"][0]
    assert told[-1]["said"][0]["of"]
