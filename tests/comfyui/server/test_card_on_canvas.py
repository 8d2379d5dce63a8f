"""The card of a LoRA and the search by its words, in the page of a real browser, in both ways nodes are drawn."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.canvas import ALL_NODES, PICTURES, Canvas
from harness.client import Client
from harness.workflows import POCKET_LORAS, pocket_workflow
from playwright.sync_api import Locator, expect

FILE = "shown/zibbo_high.safetensors"
PROMPT = "nodes.find(node => node.type === 'CLIPTextEncode').widgets[0].value"
NOTES = '<p>Says <b>hello</b>.</p><img src=x onerror="window.wasRun = true"><script>window.wasRun = true</script>'


@pytest.fixture(scope="module")
def folder(comfy: Client) -> Path:
    """A LoRA with a preview and a sidecar, and one without either."""
    folder = comfy.server.base / "models" / "loras" / "shown"
    folder.mkdir(parents=True)
    for name in ("zibbo_high", "plain_high"):
        shutil.copy(POCKET_LORAS / "zibbo_character_high_noise.safetensors", folder / f"{name}.safetensors")
    told = {
        "model_name": "Zibbo <i>the</i> Round",
        "base_model": "Wan Video 2.2 T2V-A14B",
        "tags": ["creature"],
        "notes": NOTES,
        "civitai": {"trainedWords": ["purple ball, <b>big</b> eyes"]},
        "usage_tips": '{"strength_min": 0.5, "strength_max": 0.9}',
    }
    (folder / "zibbo_high.metadata.json").write_text(json.dumps(told))
    shutil.copy(Path(__file__).parents[3] / "workflows" / "pocket-quickstart.jpg", folder / "zibbo_high.jpg")
    comfy.object_info()
    return folder


@pytest.fixture(params=[False, True], ids=["drawn on the canvas", "drawn by the page"])
def shown(canvas: Canvas, folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Canvas]:
    canvas.faults.clear()
    canvas.set("Comfy.VueNodes.Enabled", request.param)
    file = tmp_path / f"card-{tmp_path.name}.json"
    file.write_text(json.dumps(pocket_workflow([{"path": FILE}])))
    canvas.refresh_lists()
    canvas.drop(file)
    canvas.go_to("ApplyLoraStack")
    yield canvas
    canvas.page.keyboard.press("Escape")
    canvas.set("Comfy.VueNodes.Enabled", False)
    assert not canvas.faults


def card(canvas: Canvas) -> Locator:
    return canvas.page.get_by_role("dialog", name=f"card of {FILE}")


def value(canvas: Canvas, type: str) -> Any:
    return next(values for kind, _, values in canvas.widget_values() if kind == type)[0]


def picture(canvas: Canvas, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    way = "page" if canvas.page.evaluate("() => LiteGraph.vueNodesMode") else "canvas"
    canvas.page.screenshot(path=PICTURES / f"{name}-{way}.png")


def test_the_card_tells_what_is_known_and_runs_nothing_of_what_others_wrote(shown: Canvas) -> None:
    shown.page.get_by_label("LoRA 1 card", exact=True).click()
    expect(card(shown)).to_contain_text("Zibbo the Round")
    for text in (
        "Wan Video 2.2 T2V-A14B",
        "creature",
        "Says hello.",
        re.compile("0.5 . 0.9"),
        "purple ball",
        "big eyes",
        "trained on clips",
    ):
        expect(card(shown)).to_contain_text(text)
    shown.page.wait_for_function("() => document.querySelector('img.wl-card-preview')?.naturalWidth > 0")
    picture(shown, "card")
    assert shown.page.evaluate("() => window.wasRun") is None
    shown.page.keyboard.press("Escape")
    expect(card(shown)).to_be_hidden()
    expect(shown.page.get_by_label("LoRA 1 card", exact=True)).to_be_focused()


def test_a_word_goes_into_the_prompt_behind_the_node_and_comes_back_with_undo(shown: Canvas) -> None:
    before = value(shown, "CLIPTextEncode")
    shown.page.get_by_label("LoRA 1 card", exact=True).click()
    card(shown).get_by_label("insert purple ball into the prompt").click()
    expect(card(shown).get_by_role("status")).to_contain_text("inserted into")
    assert value(shown, "CLIPTextEncode") == f"{before}, purple ball"
    card(shown).get_by_label("insert purple ball into the prompt").click()
    assert value(shown, "CLIPTextEncode") == f"{before}, purple ball"
    shown.page.wait_for_timeout(300)
    shown.page.keyboard.press("Control+z")
    expect(card(shown)).to_be_hidden()
    shown.page.wait_for_function(f"() => {{ {ALL_NODES} return {PROMPT} === {json.dumps(before)} }}")


def test_the_strength_advised_is_taken_and_keys_reach_every_control(shown: Canvas) -> None:
    shown.page.get_by_label("LoRA 1 card", exact=True).focus()
    shown.page.keyboard.press("Enter")
    expect(card(shown)).to_contain_text("purple ball")
    names = []
    for _ in range(12):
        shown.page.keyboard.press("Tab")
        names.append(
            shown.page.evaluate("() => document.activeElement.ariaLabel ?? document.activeElement.textContent")
        )
    assert {"close the card", "copy purple ball", "insert all words into the prompt", "use 0.7"} <= set(names)
    card(shown).get_by_role("button", name="use 0.7").click()
    assert json.loads(value(shown, "ApplyLoraStack"))[0]["weight"] == 0.7
    expect(shown.page.get_by_label("LoRA 1 strength", exact=True)).to_have_value("0.7")
    shown.page.locator("#graph-canvas").click(position={"x": 300, "y": 200})
    expect(card(shown)).to_be_hidden()


def test_files_are_found_by_tag_model_folder_and_pattern(shown: Canvas) -> None:
    file = shown.page.get_by_label("LoRA 1 file", exact=True)
    searches = {
        "tag:creature": ["zibbo_high.safetensors"],
        "base:wan2.2": ["zibbo_high.safetensors"],
        "shown/": ["plain_high.safetensors", "zibbo_high.safetensors"],
        "/^shown.*(zib|nothing)/": ["zibbo_high.safetensors"],
        "shown/ tag:character": ["plain_high.safetensors", "zibbo_high.safetensors"],
    }
    for typed, wanted in searches.items():
        file.fill(typed)
        names = shown.page.locator(".wl-list [role=option] span")
        expect(names).to_have_text(wanted)
    expect(shown.page.locator(".wl-hint")).to_contain_text("base:")
    picture(shown, "card-search")
    file.fill("/(/")
    expect(shown.page.locator(".wl-hint")).to_contain_text("regular expression")
