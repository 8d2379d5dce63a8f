"""The rows of LoRAs in the host's side panel, beside those in the node."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness.canvas import PICTURES, Canvas
from harness.workflows import SHIPPED
from playwright.sync_api import Locator, expect

QUICKSTART = next((file for file in SHIPPED if file.stem == "pocket-quickstart"), None)
SELECT = "type => app.canvas.selectNode(app.graph.nodes.find(node => node.type === type))"


@pytest.fixture
def panel(canvas: Canvas) -> Iterator[Canvas]:
    """The quickstart with the panel open at ApplyLoraStack."""
    canvas.faults.clear()
    canvas.drop(QUICKSTART)
    canvas.go_to("ApplyLoraStack")
    canvas.page.evaluate(SELECT, "ApplyLoraStack")
    canvas.page.get_by_label("Toggle properties panel").first.click()
    yield canvas
    canvas.page.get_by_label("Toggle properties panel").first.click()
    assert not canvas.faults


def rows(canvas: Canvas) -> list[dict[str, Any]]:
    values = next(values for kind, _, values in canvas.widget_values() if kind == "ApplyLoraStack")
    return json.loads(values[0])


def in_panel(canvas: Canvas, name: str) -> Locator:
    return canvas.page.locator(".wl-in-panel").get_by_label(name, exact=True)


def in_node(canvas: Canvas, name: str) -> Locator:
    return canvas.page.locator(".wl-rows:not(.wl-in-panel)").get_by_label(name, exact=True)


def test_the_panel_has_the_rows_too_and_leaves_those_in_the_node_in_their_place(panel: Canvas) -> None:
    expect(panel.page.locator(".wl-in-panel .wl-row")).to_have_count(3)
    node = panel.page.locator(".wl-rows:not(.wl-in-panel)").filter(has_text="add LoRA").first
    before = node.bounding_box()
    PICTURES.mkdir(parents=True, exist_ok=True)
    panel.page.screenshot(path=PICTURES / "side-panel.png")
    panel.page.evaluate("() => app.canvas.setDirty(true, true)")
    panel.page.wait_for_timeout(300)
    assert node.bounding_box() == before
    for n in (1, 2, 3):
        button = in_panel(panel, f"LoRA {n} duplicate").bounding_box()
        assert button["x"] + button["width"] <= panel.page.viewport_size["width"]


def test_what_is_changed_in_one_place_is_changed_in_the_other(panel: Canvas) -> None:
    in_panel(panel, "LoRA 2 remove").click()
    assert [row["name"] for row in rows(panel)] == ["speed", "neon"]
    expect(in_node(panel, "LoRA 2 name")).to_have_value("neon")
    in_node(panel, "LoRA 1 duplicate").click()
    expect(panel.page.locator(".wl-in-panel .wl-row")).to_have_count(3)
    expect(in_panel(panel, "LoRA 3 name")).to_have_value("neon")


def test_another_node_and_back_makes_no_second_rows(panel: Canvas) -> None:
    for type in ("Sampler6Step", "ApplyLoraStack"):
        panel.page.evaluate(SELECT, type)
        panel.page.wait_for_timeout(500)
    expect(panel.page.locator(".wl-in-panel .wl-row")).to_have_count(3)
    assert panel.page.locator(".wl-in-panel").count() == 1
