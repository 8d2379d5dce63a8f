"""Faults in the page of a real browser: the whole text at the node and at the row, in both ways nodes are drawn."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.canvas import Canvas
from harness.client import Client
from harness.workflows import LOADER, POCKET_LORAS, pocket_workflow
from playwright.sync_api import Locator, expect

SPEED = {"path": "speed_6steps_high_noise.safetensors"}
RED = "rgb(255, 68, 68)"


@pytest.fixture(params=[False, True], ids=["drawn on the canvas", "drawn by the page"])
def drop(canvas: Canvas, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Drop a workflow in API format on the canvas, which draws nodes in one of its two ways."""
    canvas.set("Comfy.VueNodes.Enabled", request.param)

    def dropped(workflow: dict[str, Any], node: str) -> Canvas:
        file = tmp_path / f"faults-{tmp_path.name}.json"
        file.write_text(json.dumps(workflow))
        canvas.drop(file)
        canvas.go_to(node)
        return canvas

    yield dropped
    canvas.page.keyboard.press("Escape")
    canvas.set("Comfy.VueNodes.Enabled", False)


def result(canvas: Canvas, text: str) -> Locator:
    return canvas.page.get_by_role("log").filter(has_text=text)


def test_a_row_that_is_refused_says_so_itself_and_whole_at_the_node(drop: Any) -> None:
    canvas: Canvas = drop(pocket_workflow([SPEED, {"path": "gone.safetensors"}]), "ApplyLoraStack")
    canvas.queue()
    shown = result(canvas, "gone.safetensors: no such file")
    expect(shown).to_have_css("color", RED)
    row = canvas.page.get_by_label("LoRA 2 result", exact=True)
    expect(row).to_contain_text("gone.safetensors: no such file")
    expect(row).to_have_css("color", RED)
    expect(canvas.page.get_by_label("LoRA 1 result", exact=True)).not_to_have_css("color", RED)
    canvas.picture("fault-of-a-row")
    canvas.go_to("ApplyLoraStack")
    canvas.page.get_by_label("LoRA 2 remove", exact=True).click()
    expect(canvas.page.locator(".wl-row.wl-wrong")).to_have_count(0)


def test_an_invalid_schedule_says_why_without_hovering(drop: Any) -> None:
    canvas: Canvas = drop(pocket_workflow([SPEED | {"schedule": "fade_out:0.5:0.9"}]), "ApplyLoraStack")
    row = canvas.page.get_by_label("LoRA 1 result", exact=True)
    expect(row).to_have_text("a ramp runs from a higher noise level (sigma) to a lower. Exchange the two")
    canvas.page.get_by_label("LoRA 1 schedule", exact=True).fill("fade_out")
    canvas.page.get_by_label("LoRA 1 schedule", exact=True).press("Enter")
    expect(row).to_have_text("")


def test_a_piece_that_was_not_chosen_is_told_at_the_loader_whose_fault_it_is(drop: Any, comfy: Client) -> None:
    folder = comfy.server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(POCKET_LORAS.parent / "wan_pocket_low_noise.safetensors", folder / "single.safetensors")
    workflow = pocket_workflow()
    workflow[LOADER]["inputs"] |= {"high_noise": "single.safetensors", "low_noise": "none: single expert"}
    comfy.object_info()
    canvas: Canvas = drop(workflow, "LoadWanModel")
    canvas.queue()
    shown = result(canvas, "LoadWanModel: no text encoder was chosen. Choose one, or use another loader's CLIP.")
    expect(shown).to_have_css("color", RED, timeout=60_000)
    canvas.page.keyboard.press("Escape")
    canvas.picture("fault-of-a-loader")


def test_one_bad_value_is_red_on_its_own_widget_alone(drop: Any) -> None:
    workflow = pocket_workflow()
    workflow["sampler"]["inputs"] |= {"start_at_step": 4, "end_at_step": 2, "boundary": "abc"}
    canvas: Canvas = drop(workflow, "Sampler6Step")
    canvas.queue()
    expect(result(canvas, "'abc' is not a number")).to_have_css("color", RED)
    told = canvas.page.evaluate(
        "() => Object.values(app.lastNodeErrors ?? {}).flatMap(node => node.errors.map(e => e.extra_info.input_name))"
    )
    assert told == ["boundary"]
