"""The tools of ApplyLoraStack's rows in the page of a real browser, in both ways nodes are drawn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.canvas import PICTURES, Canvas
from harness.workflows import pocket_workflow
from playwright.sync_api import Locator, expect

SPEED, ZIBBO, NEON = (
    f"{name}_high_noise.safetensors" for name in ("speed_6steps", "zibbo_character", "neon_style")
)


@pytest.fixture(autouse=True)
def no_faults_on_the_console(canvas: Canvas) -> Iterator[None]:
    canvas.faults.clear()
    yield
    assert not canvas.faults


@pytest.fixture(params=[False, True], ids=["canvas", "page"])
def on_canvas(canvas: Canvas, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Canvas]:
    """The canvas with three LoRAs in the stack, the second of them weaker on the low-noise expert."""
    canvas.set("Comfy.VueNodes.Enabled", request.param)
    canvas.way = "page" if request.param else "canvas"
    drop(canvas, tmp_path, [{"path": SPEED}, {"path": ZIBBO, "weight": 0.9, "low_noise_weight": 0.4}, {"path": NEON}])
    yield canvas
    canvas.page.keyboard.press("Escape")
    canvas.set("Comfy.VueNodes.Enabled", False)


def drop(canvas: Canvas, folder: Path, rows: list[dict[str, Any]]) -> None:
    file = folder / f"tools-{folder.name}.json"
    file.write_text(json.dumps(pocket_workflow(rows)))
    canvas.drop(file)
    canvas.go_to("ApplyLoraStack")


def control(canvas: Canvas, name: str) -> Locator:
    return canvas.page.get_by_label(name, exact=True)


def rows(canvas: Canvas) -> list[dict[str, Any]]:
    values = next(values for kind, _, values in canvas.widget_values() if kind == "ApplyLoraStack")
    return json.loads(values[0])


def stems(canvas: Canvas) -> list[str]:
    return [row["path"].split("_")[0] for row in rows(canvas)]


def undo(canvas: Canvas) -> None:
    canvas.page.wait_for_timeout(300)
    canvas.page.locator("#graph-canvas").click(position={"x": 300, "y": 900})
    canvas.page.keyboard.press("Control+z")
    canvas.page.wait_for_timeout(500)


def screenshot(canvas: Canvas, name: str) -> None:
    """Take the page as it is, with what is open over it, into a folder that git ignores."""
    canvas.page.screenshot(path=PICTURES / f"{name}-{canvas.way}.png")


def picked(canvas: Canvas, row: int, entry: str) -> None:
    """Take an entry of a row's menu with the mouse."""
    control(canvas, f"LoRA {row} twin").click(button="right")
    canvas.page.get_by_role("menuitem", name=entry, exact=True).click()


def test_a_right_click_opens_the_menu_of_the_row_and_not_the_canvas_s(on_canvas: Canvas) -> None:
    canvas = on_canvas
    control(canvas, "LoRA 2 twin").click(button="right")
    menu = canvas.page.get_by_role("menu", name="LoRA 2 menu")
    expect(menu).to_be_visible()
    expect(canvas.page.locator(".litecontextmenu, .p-contextmenu")).to_have_count(0)
    screenshot(canvas, "row-menu")
    canvas.page.get_by_role("menuitem", name="only this one on", exact=True).click()
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, True, False]
    picked(canvas, 2, "same strength on both experts")
    assert rows(canvas)[1] == {"path": ZIBBO, "weight": 0.9}
    picked(canvas, 3, "move to the top")
    assert stems(canvas) == ["neon", "speed", "zibbo"]
    picked(canvas, 1, "strength 0.5")
    assert rows(canvas)[0]["weight"] == 0.5
    expect(control(canvas, "LoRA 1 strength")).to_have_value("0.5")
    picked(canvas, 1, "change the name")
    expect(control(canvas, "LoRA 1 name")).to_be_focused()


def test_the_menu_is_walked_with_the_keyboard_and_the_focus_stays_in_the_row(on_canvas: Canvas) -> None:
    canvas = on_canvas
    control(canvas, "LoRA 1 strength").focus()
    canvas.page.keyboard.press("Shift+F10")
    expect(canvas.page.get_by_role("menuitem", name="switch off", exact=True)).to_be_focused()
    canvas.page.keyboard.press("Escape")
    expect(canvas.page.get_by_role("menu")).to_have_count(0)
    expect(control(canvas, "LoRA 1 strength")).to_be_focused()
    canvas.page.keyboard.press("Shift+F10")
    canvas.page.keyboard.press("ArrowDown")
    canvas.page.keyboard.press("ArrowDown")
    expect(canvas.page.get_by_role("menuitem", name="move down", exact=True)).to_be_focused()
    canvas.page.keyboard.press("Enter")
    assert stems(canvas) == ["zibbo", "speed", "neon"]
    expect(control(canvas, "LoRA 2 strength")).to_be_focused()
    expect(canvas.page.get_by_role("menu")).to_have_count(0)


def test_all_rows_are_toggled_and_one_undo_takes_it_back(on_canvas: Canvas) -> None:
    canvas = on_canvas
    control(canvas, "LoRA 1 enabled").click()
    control(canvas, "toggle all").click()
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, False, False]
    control(canvas, "toggle all").click()
    assert [row.get("enabled", True) for row in rows(canvas)] == [True, True, True]
    undo(canvas)
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, False, False]
    undo(canvas)
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, True, True]
