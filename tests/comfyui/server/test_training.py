"""Training through POST /prompt and in the browser: seen while it runs, interrupted, gone on with, returned at once."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.canvas import Canvas
from harness.client import Client, PromptRefusedError, Run, Workflow
from harness.finding import PROJECT
from harness.workflows import LOADER, STACK, node, pocket_workflow
from playwright.sync_api import expect

TRAIN, SHOWN = "train", "shown"
SMALL = "blocks=0\ntargets=self_attn\nswitch_every=1\nvalidate_every=0\nbatch_size=1\nsave_every=0"
SECONDS = 240
SHEET_IS_SEEN = "() => document.querySelector('.wl-sheet img')?.naturalWidth > 0"
IS_OFFERED = """file => LiteGraph.registered_node_types.ApplyLoraStack.nodeData.input.required.loras[1].lora_files
  .includes(file)"""


@pytest.fixture(scope="module", autouse=True)
def _clips(comfy: Client) -> None:
    """Put four clips below the server's input folder."""
    folder = comfy.server.base / "input" / "blorps"
    folder.mkdir(exist_ok=True)
    for file in (PROJECT / "examples" / "clips").glob("blorp-plain-*"):
        shutil.copy(file, folder)


def training(name: str, *, settings: str = SMALL, model: list[Any] | None = None, **changed: Any) -> Workflow:
    """Return a training of the pocket model, whose pair is put on it."""
    given = {
        **{"clips": "blorps", "clips_path": "", "name": name, "trigger": "", "preset": "none", "method": "lora"},
        **{"experts": "both", "rank": 2, "steps": 2, "previews": 0, "lr": 0.001, "batch_size": 0, "num_frames": 0},
        **{"resolution": 0, "settings": settings},
    }
    parts = {key: part for key, part in pocket_workflow().items() if key in (LOADER, STACK)}
    parts[TRAIN] = node("TrainLoraFromClips", model=model or [LOADER, 0], **given | changed)
    parts[STACK]["inputs"]["stack"] = [TRAIN, 5]
    parts[SHOWN] = node("SaveLoraStack", stack=[STACK, 2], name=name)
    return parts


def succeeded(run: Run) -> Run:
    assert run.outcome == "success", run.error.get("exception_message")
    return run


def report(run: Run) -> str:
    return succeeded(run).outputs[TRAIN]["text"][0]


def num_children(comfy: Client) -> int:
    return len(psutil.Process(comfy.server.process.pid).children(recursive=True))


def test_a_training_is_told_interrupted_gone_on_with_and_then_returned_at_once(comfy: Client) -> None:
    workflow = training("stopped", steps=60)
    folder = comfy.server.base / "output" / "wanloom" / "training" / "stopped"
    prompt_id = comfy.post_prompt(workflow)
    seen: list[dict[str, Any]] = []
    is_asked = False
    for event in comfy.follow(prompt_id, SECONDS):
        if event.type == "wanloom.training":
            seen.append(event.data)
        # The host tells of one step in a tenth of a second, and leaves out those between.
        if event.type == "progress" and event.data["node"] == TRAIN and event.data["value"] >= 5 and not is_asked:
            is_asked = True
            comfy.interrupt()
    assert event.type == "execution_interrupted"
    assert num_children(comfy) == 0
    (checkpoint,) = (folder / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert 5 <= step < 60
    assert len((folder / "log.jsonl").read_text().splitlines()) == 1 + step  # and what was measured before the first
    assert {state["node"] for state in seen} == {TRAIN}
    assert any(state["curves"]["trained"] for state in seen)
    assert seen[-1]["running"] is False

    text = report(comfy.run(workflow, SECONDS))
    assert "stopped: 60 steps (high-noise 30, low-noise 30)" in text
    assert "it went on from where it had stopped" in text
    options = comfy.object_info("ApplyLoraStack")["ApplyLoraStack"]["input"]["required"]["loras"][1]
    assert {"trained/stopped_high_noise.safetensors", "trained/stopped_low_noise.safetensors"} <= set(
        options["lora_files"]
    )

    started = time.monotonic()
    again = comfy.run(workflow, SECONDS)
    assert "it was over already; nothing was trained anew" in report(again)
    assert time.monotonic() - started < 10
    assert comfy.run(workflow, SECONDS).executed == []  # and now nothing is left that could change


def test_of_two_queued_of_one_name_the_other_is_an_error_and_the_same_a_result(comfy: Client) -> None:
    queued = [comfy.post_prompt(training("twice", rank=rank)) for rank in (2, 4, 2)]
    first, other, same = (comfy.wait(prompt_id, SECONDS) for prompt_id in queued)
    assert "twice: 2 steps" in report(first)
    assert other.outcome == "error"
    assert other.error["node_id"] == TRAIN
    message = other.error["exception_message"]
    assert message.startswith("name: the name 'twice' is taken: the training here has other settings: rank 2 there, 4")
    assert "it was over already" in report(same)


def test_loras_on_the_model_are_left_out_and_said_to_be(comfy: Client) -> None:
    workflow = training("twice", model=["before", 0])
    rows = json.dumps([{"path": "neon_style_high_noise.safetensors"}])
    workflow["before"] = node("ApplyLoraStack", model=[LOADER, 0], loras=rows, allow_partial=False)
    assert "note: the base alone was trained on; the 1 LoRA on the model were left out" in report(comfy.run(workflow))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a folder outside": ({"clips_path": "../../etc"}, "is outside of the folders that ComfyUI may read"),
    "no such folder": ({"clips": "gone"}, "there is no such folder"),
    "no such preset": ({"preset": "charakter"}, "unknown value 'charakter'"),
    "no name for files": ({"name": "../up"}, "is no name for files"),
    "a key nobody knows": ({"settings": "rang=2"}, "unknown key 'rang'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_the_run(comfy: Client, case: str) -> None:
    changed, words = BAD[case]
    with pytest.raises(PromptRefusedError) as caught:
        comfy.post_prompt(training(**{"name": "bad"} | changed))
    assert words in caught.value.texts(TRAIN)


def test_a_model_of_unknown_origin_is_an_error_of_the_node(comfy: Client) -> None:
    workflow = training("foreign", model=["pair", 0])
    split = node("SplitWanModel", model=[LOADER, 0])
    workflow |= {"split": split, "pair": node("PairWanModels", high_noise=["split", 0], low_noise=["split", 1])}
    run = comfy.run(workflow, SECONDS)
    assert run.error["node_id"] == TRAIN
    assert "Use LoadWanModel" in run.error["exception_message"]


def seen(**changed: Any) -> Workflow:
    settings = f"{SMALL}\npreview_prompts=a blorp moves up on a plain background\npreview_steps=2"
    return training("seen", steps=60, previews=2, settings=settings, **changed)


def dropped(canvas: Canvas, folder: Path) -> None:
    file = folder / f"seen-{folder.name}.json"
    file.write_text(json.dumps(seen()))
    canvas.drop(file)
    canvas.go_to("TrainLoraFromClips")
    canvas.queue()


def test_the_losses_and_previews_are_seen_on_the_node_while_it_trains(canvas: Canvas, tmp_path: Path) -> None:
    canvas.faults.clear()
    dropped(canvas, tmp_path)
    page = canvas.page
    status = page.get_by_label("training status")
    expect(status).to_contain_text("of 60", timeout=120_000)
    expect(page.get_by_label("training losses").locator("polyline").first).to_be_attached()
    page.wait_for_function(SHEET_IS_SEEN, timeout=120_000)
    canvas.picture("training-seen")
    expect(status).to_contain_text("done", timeout=120_000)
    expect(page.locator(".wl-text", has_text="seen: 60 steps")).to_be_attached(timeout=60_000)
    page.wait_for_function(IS_OFFERED, arg="trained/seen_high_noise.safetensors")
    assert not canvas.faults


def test_a_training_that_is_over_shows_them_too_where_the_page_draws_the_nodes(canvas: Canvas, tmp_path: Path) -> None:
    canvas.faults.clear()
    canvas.set("Comfy.VueNodes.Enabled", True)
    try:
        dropped(canvas, tmp_path)
        page = canvas.page
        expect(page.get_by_text("it was over already")).to_be_visible(timeout=60_000)
        assert page.get_by_label("training losses").locator("polyline").count() == 2
        page.wait_for_function(SHEET_IS_SEEN)
        expect(page.locator(".wl-sheet")).to_be_visible()
        canvas.picture("training-over")
        assert not canvas.faults
    finally:
        canvas.set("Comfy.VueNodes.Enabled", False)
