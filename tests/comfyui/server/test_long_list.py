"""A list of more files than are drawn at once, in the page of a real browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.canvas import Canvas
from harness.client import Client
from harness.workflows import POCKET_LORAS, pocket_workflow
from playwright.sync_api import Locator, expect

NUM_FOLDERS, NUM_IN_FOLDER = 30, 20
#: Scroll to an end, a bit at a time, until nothing more comes.
SCROLL = """async (step) => {
  const list = document.querySelector('.wl-list')
  for (let before = -1; list.scrollTop !== before;) {
    before = list.scrollTop
    list.scrollTop += step
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)))
  }
}"""
#: The choices as they are shown, each below the heading that it stands under.
SHOWN = """() => {
  let folder = ''
  return [...document.querySelectorAll('.wl-list > *')].flatMap(one => {
    if (one.matches('.wl-group')) folder = `${one.textContent}/`
    return one.matches('[role=option]') ? [folder + one.querySelector('span').textContent] : []
  })
}"""


def name(folder: int, file: int) -> str:
    return f"many/{folder:02}/style {file:02}.safetensors"


FILES = [name(folder, file) for folder in range(NUM_FOLDERS) for file in range(NUM_IN_FOLDER)]
CURRENT = name(20, 5)


@pytest.fixture(scope="module")
def folder(comfy: Client) -> Iterator[Path]:
    """Files of the same names in many folders."""
    root = comfy.server.base / "models" / "loras"
    lora = POCKET_LORAS / "neon_style_high_noise.safetensors"
    for file in FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).hardlink_to(root / FILES[0]) if file != FILES[0] else shutil.copy(lora, root / file)
    yield root
    shutil.rmtree(root / "many")


@pytest.fixture
def field(canvas: Canvas, folder: Path, tmp_path: Path) -> Iterator[Locator]:
    canvas.faults.clear()
    file = tmp_path / f"many-{tmp_path.name}.json"
    file.write_text(json.dumps(pocket_workflow([{"path": CURRENT}])))
    canvas.refresh_lists()
    canvas.drop(file)
    canvas.go_to("ApplyLoraStack")
    yield canvas.page.get_by_label("LoRA 1 file", exact=True)
    canvas.page.keyboard.press("Escape")
    assert not canvas.faults


def test_the_list_opens_where_the_rows_file_is_and_all_others_are_scrolled_to(canvas: Canvas, field: Locator) -> None:
    field.click()
    selected = canvas.page.locator(".wl-list [aria-selected=true]")
    expect(selected).to_have_text("style 05.safetensors")
    box, frame = selected.bounding_box(), canvas.page.locator(".wl-list").bounding_box()
    assert frame["y"] < box["y"] < frame["y"] + frame["height"]
    assert len(canvas.page.evaluate(SHOWN)) < len(FILES)
    canvas.page.evaluate(SCROLL, -300)
    canvas.page.evaluate(SCROLL, 300)
    shown = canvas.page.evaluate(SHOWN)
    assert [file for file in shown if file.startswith("many/")] == FILES
    assert "neon_style_high_noise.safetensors" in shown
    assert canvas.page.locator(".wl-list .wl-group", has_text="many/").count() == NUM_FOLDERS


def test_a_list_that_is_closed_while_it_scrolls_draws_no_more(canvas: Canvas, field: Locator) -> None:
    for _ in range(3):
        field.click()
        canvas.page.evaluate(
            "() => { document.querySelector('.wl-list').scrollTop += 500; document.activeElement.blur() }"
        )
    expect(canvas.page.locator(".wl-list")).to_have_count(0)


@pytest.mark.parametrize(("key", "place"), [("ArrowUp", 20 * NUM_IN_FOLDER + 5 - 130), ("ArrowDown", 535)])
def test_the_keyboard_goes_beyond_what_is_drawn(canvas: Canvas, field: Locator, key: str, place: int) -> None:
    field.click()
    for _ in range(130):
        canvas.page.keyboard.press(key)
    selected = canvas.page.locator(".wl-list [aria-selected=true]")
    expect(selected).to_have_count(1)
    expect(selected).to_be_in_viewport()
    canvas.page.keyboard.press("Enter")
    rows = next(values for kind, _, values in canvas.widget_values() if kind == "ApplyLoraStack")
    assert json.loads(rows[0])[0]["path"] == FILES[place]
