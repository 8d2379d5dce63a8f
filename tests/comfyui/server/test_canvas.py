"""The project's workflows and the rows of ApplyLoraStack, in the page of a real browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.canvas import Canvas
from harness.client import Client
from harness.workflows import BLUEPRINTS, POCKET_LORAS, SHIPPED, pocket_workflow, read
from playwright.sync_api import Locator, expect

QUICKSTART = next((file for file in SHIPPED if file.stem == "pocket-quickstart"), None)


@pytest.fixture(autouse=True)
def no_faults_on_the_console(canvas: Canvas) -> Iterator[None]:
    canvas.faults.clear()
    yield
    assert not canvas.faults


def row_control(canvas: Canvas, name: str) -> Locator:
    """Return a control of the rows by what it is called; web/widgets/lora_rows.js lists them."""
    return canvas.page.get_by_label(name, exact=True)


def rows(canvas: Canvas) -> list[dict[str, Any]]:
    """Return the value of the `loras` widget, as it would be queued."""
    values = next(values for kind, _, values in canvas.widget_values() if kind == "ApplyLoraStack")
    return json.loads(values[0])


def drag_sideways(canvas: Canvas, control: Locator, pixels: int) -> None:
    box, mouse = control.bounding_box(), canvas.page.mouse
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + pixels, y, steps=8)
    mouse.up()


def links_in(workflow: dict[str, Any]) -> int:
    inner = workflow.get("definitions", {}).get("subgraphs", [])
    return sum(len(graph["links"]) for graph in [workflow, *inner])


def nodes_in(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    inner = workflow.get("definitions", {}).get("subgraphs", [])
    return [node for graph in [workflow, *inner] for node in graph["nodes"]]


def as_data(value: Any) -> Any:
    """Return JSON text as what it stands for, so that only its meaning is compared."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


@pytest.mark.skipif(QUICKSTART is None, reason="workflows/pocket-quickstart.json is not there")
def test_the_quickstart_is_edited_queued_and_shows_progress_and_its_video(canvas: Canvas) -> None:
    canvas.drop(QUICKSTART)
    canvas.go_to("ApplyLoraStack")
    before = rows(canvas)
    drag_sideways(canvas, row_control(canvas, "LoRA 1 strength"), -40)
    assert rows(canvas)[0]["weight"] < before[0].get("weight", 1)
    assert rows(canvas)[1:] == before[1:]
    canvas.queue()
    assert canvas.wait_for_progress() == "Sampler6Step"
    canvas.picture("pocket-quickstart-running")
    canvas.go_to("ApplyLoraStack")
    expect(row_control(canvas, "LoRA 1 result")).to_contain_text("applied")
    canvas.go_to("SaveVideo")
    expect(canvas.page.locator("video")).to_be_visible(timeout=60_000)
    canvas.page.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    expect(canvas.page.get_by_text("Job completed")).to_be_hidden(timeout=20_000)
    canvas.picture("pocket-quickstart-done")


@pytest.mark.parametrize("file", [*SHIPPED, *BLUEPRINTS], ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_dropped_workflow_has_all_its_nodes_links_and_values(canvas: Canvas, file: Path) -> None:
    workflow = read(file)
    canvas.drop(file)
    assert canvas.missing_nodes() == []
    assert canvas.slot_faults() == []
    assert canvas.num_links() == links_in(workflow)
    shown = {(kind, number): values for kind, number, values in canvas.widget_values()}
    for node in nodes_in(workflow):
        wanted, got = node.get("widgets_values") or [], shown[node["type"], str(node["id"])]
        assert [as_data(value) for value in got] == [as_data(value) for value in wanted], node["type"]
    canvas.picture(file.stem)


@pytest.fixture(params=[False, True], ids=["drawn on the canvas", "drawn by the page"])
def on_canvas(canvas: Canvas, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Canvas]:
    """The canvas with the four nodes on it and one LoRA in the stack, in both ways the frontend draws nodes."""
    canvas.set("Comfy.VueNodes.Enabled", request.param)
    file = tmp_path / f"rows-{tmp_path.name}.json"
    file.write_text(json.dumps(pocket_workflow([{"path": "speed_6steps_high_noise.safetensors"}])))
    canvas.drop(file)
    canvas.go_to("ApplyLoraStack")
    yield canvas
    canvas.set("Comfy.VueNodes.Enabled", False)


def test_a_lora_is_added_with_the_mouse(on_canvas: Canvas) -> None:
    canvas = on_canvas
    canvas.page.get_by_role("button", name="add LoRA").click()
    row_control(canvas, "LoRA 2 file").fill("zibbo")
    canvas.page.get_by_role("option", name="zibbo_character").first.click()
    row_control(canvas, "LoRA 2 strength").fill("0.6")
    row_control(canvas, "LoRA 2 strength").press("Enter")
    row_control(canvas, "LoRA 2 applies to").select_option("low_noise")
    added = rows(canvas)[1]
    assert "zibbo_character" in added["path"]
    assert (added["weight"], added["applies_to"]) == (0.6, "low_noise")


def test_rows_are_switched_duplicated_moved_and_removed_with_the_mouse(on_canvas: Canvas) -> None:
    canvas = on_canvas
    row_control(canvas, "LoRA 1 duplicate").click()
    row_control(canvas, "LoRA 2 strength").fill("0.25")
    row_control(canvas, "LoRA 2 strength").press("Enter")
    row_control(canvas, "LoRA 2 move").drag_to(row_control(canvas, "LoRA 1 move"))
    assert [row.get("weight", 1) for row in rows(canvas)] == [0.25, 1]
    row_control(canvas, "LoRA 1 enabled").click()
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, True]
    row_control(canvas, "LoRA 1 remove").click()
    assert len(rows(canvas)) == 1


def test_undo_takes_back_an_edit_of_a_row(on_canvas: Canvas) -> None:
    canvas = on_canvas
    row_control(canvas, "LoRA 1 enabled").click()
    canvas.page.wait_for_timeout(300)
    canvas.page.locator("#graph-canvas").click(position={"x": 300, "y": 700})
    canvas.page.keyboard.press("Control+z")
    expect(row_control(canvas, "LoRA 1 enabled")).to_have_attribute("aria-checked", "true")


def test_the_list_is_edited_as_text_and_what_is_no_list_stays_text(on_canvas: Canvas) -> None:
    canvas = on_canvas
    widget = canvas.page.locator(".wl-rows", has=row_control(canvas, "add LoRA"))
    as_text, text = widget.get_by_label("edit as text"), row_control(canvas, "LoRA list as text")
    as_text.click()
    text.fill('[{"path": "zibbo_character_high_noise.safetensors"}]')
    as_text.click()
    expect(row_control(canvas, "LoRA 1 file")).to_have_value("zibbo_character_high_noise.safetensors")
    as_text.click()
    text.fill("[")
    expect(as_text).to_be_disabled()
    expect(widget.get_by_role("alert")).to_contain_text("not JSON")
    text.fill("[]")
    as_text.click()
    assert rows(canvas) == []


def test_a_file_that_vanished_is_told_at_the_first_refresh_and_so_is_a_new_twin(
    canvas: Canvas, comfy: Client, tmp_path: Path
) -> None:
    folder = comfy.server.base / "models" / "loras"
    for name in ("passing", "pair_high_noise"):
        shutil.copy(POCKET_LORAS / "neon_style_high_noise.safetensors", folder / f"{name}.safetensors")
    canvas.refresh_lists()
    file = tmp_path / "vanishing.json"
    file.write_text(
        json.dumps(pocket_workflow([{"path": "passing.safetensors"}, {"path": "pair_high_noise.safetensors"}]))
    )
    canvas.drop(file)
    canvas.go_to("ApplyLoraStack")
    expect(row_control(canvas, "LoRA 1 file")).to_have_attribute("aria-invalid", "false")
    expect(row_control(canvas, "LoRA 2 twin")).to_have_text("")
    (folder / "passing.safetensors").unlink()
    shutil.copy(POCKET_LORAS / "neon_style_low_noise.safetensors", folder / "pair_low_noise.safetensors")
    canvas.refresh_lists()
    expect(row_control(canvas, "LoRA 1 file")).to_have_attribute("aria-invalid", "true")
    expect(row_control(canvas, "LoRA 2 twin")).to_have_text("+ pair_low_noise")
