"""The shipped workflows in the host's App mode: what one fills in, without the graph."""

from pathlib import Path

import pytest
from harness.canvas import PICTURES, Canvas
from harness.workflows import SHIPPED, read
from playwright.sync_api import Locator, expect


def inputs(canvas: Canvas) -> Locator:
    return canvas.page.get_by_test_id("app-mode-widget-item")


def toggle_app_mode(canvas: Canvas) -> None:
    canvas.page.evaluate("() => app.extensionManager.command.execute('Comfy.ToggleLinear')")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_app_mode_has_the_inputs_of_a_workflow_its_rows_too(canvas: Canvas, file: Path) -> None:
    workflow = read(file)
    canvas.drop(file)
    toggle_app_mode(canvas)
    wanted = workflow["extra"]["linearData"]["inputs"]
    expect(inputs(canvas)).to_have_count(len(wanted))
    num_shown = inputs(canvas).locator(".wl-rows").count()
    assert num_shown == sum(name in ("loras", "scenes") for _, name in wanted)
    PICTURES.mkdir(parents=True, exist_ok=True)
    canvas.page.screenshot(path=PICTURES / f"app-mode-{file.stem}.png")
    toggle_app_mode(canvas)
    expect(inputs(canvas)).to_have_count(0)
