"""The tools of ApplyLoraStack's rows in the page of a real browser, in both ways nodes are drawn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.canvas import PICTURES, Canvas
from harness.workflows import node, pocket_workflow
from playwright.sync_api import Locator, expect

SPEED, ZIBBO, NEON = (f"{name}_high_noise.safetensors" for name in ("speed_6steps", "zibbo_character", "neon_style"))


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


def undo(canvas: Canvas, keys: str = "Control+z") -> None:
    """Undo, or redo, and wait until the graph has been made anew."""
    canvas.page.wait_for_timeout(300)
    canvas.page.evaluate("() => app.rootGraph.nodes.forEach(node => { node.isBefore = true })")
    canvas.page.locator("#graph-canvas").click(position={"x": 300, "y": 900})
    canvas.page.keyboard.press(keys)
    canvas.page.wait_for_function("() => app.rootGraph.nodes.length && !app.rootGraph.nodes.some(n => n.isBefore)")
    canvas.page.wait_for_timeout(300)


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
    expect(canvas.page.get_by_role("menuitem", name="info", exact=True)).to_be_focused()
    canvas.page.keyboard.press("Escape")
    expect(canvas.page.get_by_role("menu")).to_have_count(0)
    expect(control(canvas, "LoRA 1 strength")).to_be_focused()
    canvas.page.keyboard.press("Shift+F10")
    for _ in range(3):
        canvas.page.keyboard.press("ArrowDown")
    expect(canvas.page.get_by_role("menuitem", name="move down", exact=True)).to_be_focused()
    canvas.page.keyboard.press("Enter")
    assert stems(canvas) == ["zibbo", "speed", "neon"]
    expect(control(canvas, "LoRA 2 strength")).to_be_focused()
    expect(canvas.page.get_by_role("menu")).to_have_count(0)


def test_info_in_the_menu_opens_the_card_of_the_row_and_escape_leads_back(on_canvas: Canvas) -> None:
    canvas = on_canvas
    picked(canvas, 2, "info")
    card = canvas.page.get_by_role("dialog", name=f"card of {ZIBBO}")
    expect(card).to_contain_text("rank")
    expect(control(canvas, "LoRA 2 card")).to_have_attribute("aria-expanded", "true")
    screenshot(canvas, "row-info")
    canvas.page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    expect(control(canvas, "LoRA 2 card")).to_be_focused()
    canvas.page.keyboard.press("Shift+F10")
    canvas.page.keyboard.press("Enter")
    expect(card).to_be_visible()


def test_undo_from_an_open_popup_closes_it_and_changes_the_rows(on_canvas: Canvas) -> None:
    canvas = on_canvas
    button = control(canvas, "LoRA 3 targets")
    popover = canvas.page.get_by_role("dialog", name="LoRA 3 target sliders")
    button.click()
    popover.get_by_role("button", name="second half", exact=True).click()
    expect(button).to_have_attribute("aria-pressed", "true")
    canvas.page.wait_for_timeout(300)
    control(canvas, "targets as text").press("Control+z")
    expect(popover).to_have_count(0)
    expect(button).to_have_attribute("aria-pressed", "false")
    canvas.page.wait_for_timeout(300)
    button.click()
    expect(popover).to_be_visible()
    button.click()
    expect(popover).to_have_count(0)


def test_all_rows_are_toggled_and_one_undo_takes_it_back(on_canvas: Canvas) -> None:
    canvas = on_canvas
    control(canvas, "LoRA 1 enabled").click()
    control(canvas, "toggle all").click()
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, False, False]
    control(canvas, "toggle all").click()
    assert [row.get("enabled", True) for row in rows(canvas)] == [True, True, True]
    undo(canvas)
    assert [row.get("enabled", True) for row in rows(canvas)] == [False, False, False]


GIVE = """([name, kind, text, files]) => {
  const transfer = new DataTransfer()
  if (text) transfer.setData('text/plain', text)
  for (const file of files) transfer.items.add(new File(['x'], file))
  const key = kind === 'paste' ? 'clipboardData' : 'dataTransfer'
  const make = kind === 'paste' ? ClipboardEvent : DragEvent
  const target = kind === 'paste' ? document.activeElement : document.querySelector(`[aria-label="${name}"]`)
  const event = new make(kind, { bubbles: true, cancelable: true, [key]: transfer })
  target.dispatchEvent(event)
  return event.defaultPrevented
}"""


def give(canvas: Canvas, kind: str, text: str = "", files: list[str] | None = None) -> bool:
    """Paste where the keyboard is, or drop on the rows; return whether it was taken."""
    return canvas.page.evaluate(GIVE, ["LoRA list", kind, text, files or []])


def told(canvas: Canvas) -> Locator:
    return canvas.page.locator(".wl-told").first


def test_dropped_and_pasted_text_with_tags_becomes_rows_and_a_missing_file_says_so(on_canvas: Canvas) -> None:
    canvas = on_canvas
    assert give(canvas, "drop", f"a cat <lora:{NEON.removesuffix('.safetensors')}:0.8:0.6> <lora:gone:1>")
    assert rows(canvas)[3:] == [
        {"path": NEON, "weight": 0.8, "name": "neon_style_high_noise 2"},
        {"path": "gone.safetensors", "weight": 1},
    ]
    expect(control(canvas, "LoRA 5 result")).to_contain_text("not in the list of LoRAs")
    expect(told(canvas)).to_contain_text("strengths on the text encoder left out: 1")
    screenshot(canvas, "row-dropped")
    undo(canvas)
    assert len(rows(canvas)) == 3
    control(canvas, "add LoRA").focus()
    assert give(canvas, "paste", json.dumps([{"on": False, "lora": ZIBBO, "strength": 0.3, "strengthTwo": None}]))
    assert rows(canvas)[3] == {"path": ZIBBO, "weight": 0.3, "enabled": False, "name": "zibbo_character_high_noise 2"}


def test_dropped_lora_files_become_rows_and_unknown_ones_are_named(on_canvas: Canvas) -> None:
    canvas = on_canvas
    assert give(canvas, "drop", files=[SPEED, "nobody.safetensors"])
    assert stems(canvas) == ["speed", "zibbo", "neon", "speed"]
    expect(told(canvas)).to_contain_text("nobody.safetensors")
    control(canvas, "LoRA 1 name").focus()
    assert not give(canvas, "paste", "a name")
    assert give(canvas, "paste", "<lora:speed_6steps_high_noise:1>")
    assert len(rows(canvas)) == 5


def test_the_rows_of_a_power_lora_loader_in_the_graph_are_taken_over_in_one_step(
    on_canvas: Canvas, tmp_path: Path
) -> None:
    canvas = on_canvas
    expect(control(canvas, "LoRA list")).to_be_visible()
    expect(canvas.page.get_by_role("button", name="take over rows")).to_be_hidden()
    workflow = canvas.graph()
    row = {"on": True, "lora": ZIBBO, "strength": 0.6, "strengthTwo": None}
    for number, title in ((901, "High"), (902, "Low")):
        values = [{}, {"type": "PowerLoraLoaderHeaderWidget"}, row, {**row, "on": False, "lora": SPEED}, {}, ""]
        workflow["nodes"].append(other_node(number, title, values))
    workflow["last_node_id"] = 902
    file = tmp_path / f"rgthree-{tmp_path.name}.json"
    file.write_text(json.dumps(workflow))
    canvas.drop(file)
    canvas.page.keyboard.press("Escape")
    canvas.go_to("ApplyLoraStack")
    canvas.page.get_by_role("button", name="take over rows").click()
    screenshot(canvas, "row-take-over")
    canvas.page.get_by_role("menuitem", name="from Low (902): 2").click()
    assert [(row["weight"], row.get("enabled", True)) for row in rows(canvas)[3:]] == [(0.6, True), (0.6, False)]
    expect(told(canvas)).to_contain_text("bypass or remove it")
    undo(canvas)
    assert len(rows(canvas)) == 3
    canvas.faults[:] = [fault for fault in canvas.faults if "rgthree" not in fault]


def other_node(number: int, title: str, values: list[Any]) -> dict[str, Any]:
    """Return a node of a pack that is not there, as a workflow holds it."""
    place = {"pos": [-900, 100 * (number - 900)], "size": [300, 200], "flags": {}, "order": 0, "mode": 4}
    kind = {"id": number, "type": "Power Lora Loader (rgthree)", "title": title}
    return {**kind, **place, "inputs": [], "outputs": [], "properties": {}, "widgets_values": values}


def test_a_curve_is_drawn_beside_the_schedule_while_it_is_typed(on_canvas: Canvas) -> None:
    canvas = on_canvas
    curve = control(canvas, "LoRA 1 schedule curve")
    expect(curve).to_be_hidden()
    field = control(canvas, "LoRA 1 schedule")
    field.fill("fade_out")
    expect(curve).to_be_visible()
    first = curve.locator("polyline").get_attribute("points")
    field.press_sequentially(":0.9:0.4")
    expect(curve).to_be_visible()
    assert curve.locator("polyline").get_attribute("points") != first
    screenshot(canvas, "row-curve")
    field.press_sequentially(":")
    expect(curve).to_be_hidden()


def test_sliders_write_the_targets_and_a_text_they_cannot_say_stays(on_canvas: Canvas) -> None:
    canvas = on_canvas
    button, text = control(canvas, "LoRA 3 targets"), control(canvas, "targets as text")
    popover = canvas.page.get_by_role("dialog", name="LoRA 3 target sliders")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    popover.get_by_label("number of blocks").select_option("6")
    popover.get_by_label("blocks 5", exact=True).fill("0.5")
    popover.get_by_label("module cross_attn", exact=True).fill("0")
    assert rows(canvas)[2] == {"path": NEON, "targets": "5=0.5,cross_attn=0"}
    expect(text).to_have_value("5=0.5,cross_attn=0")
    screenshot(canvas, "row-targets")
    popover.get_by_role("button", name="second half", exact=True).click()
    assert rows(canvas)[2]["targets"] == "0-2=0"
    expect(popover.get_by_label("blocks 2", exact=True)).to_have_value("0")
    text.fill("0-9.ffn=0.5")
    expect(popover.get_by_label("blocks 2", exact=True)).to_be_disabled()
    expect(popover.get_by_role("alert")).to_contain_text("The text says more")
    text.fill("fnn=0")
    expect(text).to_have_attribute("aria-invalid", "true")
    assert rows(canvas)[2]["targets"] == "0-9.ffn=0.5"
    text.fill("")
    assert "targets" not in rows(canvas)[2]
    canvas.page.keyboard.press("Escape")
    expect(popover).to_have_count(0)
    expect(button).to_be_focused()


# The host's own nodes grow when their pictures are there; behind the last click that would be a change of its own.
IS_SETTLED = """async () => {
  const { queue_running, queue_pending } = await (await fetch('/queue')).json()
  const sizes = () => JSON.stringify(app.graph.nodes.map(node => [...node.size]))
  const videos = [...document.querySelectorAll('video')]
  const before = sizes()
  await new Promise(done => setTimeout(done, 2500))
  const isShown = videos.length && videos.every(video => video.readyState >= 2)
  return queue_running.length + queue_pending.length === 0 && isShown && sizes() === before
}"""


def test_a_result_is_grey_while_the_graph_is_not_what_it_was_made_of(on_canvas: Canvas) -> None:
    canvas = on_canvas
    canvas.queue()
    expect(control(canvas, "LoRA 1 result")).to_contain_text("applied", timeout=180_000)
    canvas.page.wait_for_function(IS_SETTLED, timeout=180_000)
    expect(canvas.page.get_by_text("Job completed")).to_be_hidden(timeout=60_000)
    report = canvas.page.locator(".wl-report", has_text="twin found")
    stale = canvas.page.locator(".wl-report.wl-stale", has_text="twin found")
    canvas.go_to("ApplyLoraStack")
    control(canvas, "LoRA 1 enabled").click()
    expect(stale).to_have_count(1)
    undo(canvas)
    expect(control(canvas, "LoRA 1 enabled")).to_have_attribute("aria-checked", "true")
    expect(report).to_have_count(1)
    expect(stale).to_have_count(0)
    canvas.page.wait_for_function(IS_SETTLED, timeout=60_000)
    undo(canvas, "Control+y")
    expect(control(canvas, "LoRA 1 enabled")).to_have_attribute("aria-checked", "false")
    expect(stale).to_have_count(1)
    canvas.go_to("ApplyLoraStack")
    screenshot(canvas, "row-stale")


def test_rows_that_come_from_another_node_take_one_line(on_canvas: Canvas, tmp_path: Path) -> None:
    canvas = on_canvas
    before = height_of(canvas, "ApplyLoraStack")
    workflow = pocket_workflow()
    workflow["text"] = node("PrimitiveStringMultiline", value="[]")
    workflow["stack"]["inputs"]["loras"] = ["text", 0]
    file = tmp_path / f"linked-{tmp_path.name}.json"
    file.write_text(json.dumps(workflow))
    canvas.drop(file)
    canvas.go_to("ApplyLoraStack")
    expect(canvas.page.get_by_role("button", name="add LoRA")).to_be_hidden()
    screenshot(canvas, "row-linked")
    assert height_of(canvas, "ApplyLoraStack") < before - 80


def height_of(canvas: Canvas, kind: str) -> float:
    return canvas.page.evaluate("type => app.graph.nodes.find(n => n.type === type).size[1]", kind)


PLACES = """() => {
  const find = type => app.graph.nodes.find(node => node.type === type)
  const [split, route] = [find('SplitWanModel'), find('LoraRouteByNoise')]
  split.pos = [route.pos[0] - 400, route.pos[1] - 250]
  const at = (node, isInput) => {
    const [x, y] = app.canvas.ds.convertOffsetToCanvas(node.getConnectionPos(isInput, 0))
    const box = app.canvas.canvas.getBoundingClientRect()
    return [box.left + x, box.top + y]
  }
  app.canvas.setDirty(true, true)
  return [at(split, false), at(route, true)]
}"""


def test_a_model_let_go_over_our_socket_finds_the_node_that_pairs_models(on_canvas: Canvas, tmp_path: Path) -> None:
    canvas = on_canvas
    offered = canvas.page.evaluate("() => LiteGraph.slot_types_default_out.MODEL")
    assert "PairWanModels" in offered
    workflow = pocket_workflow()
    workflow["split"] = node("SplitWanModel", model=["loader", 0], steps=6, shift=5.0, boundary="auto")
    del workflow["route"]["inputs"]["model"]
    file = tmp_path / f"pair-{tmp_path.name}.json"
    file.write_text(json.dumps(workflow))
    canvas.drop(file)
    canvas.go_to("LoraRouteByNoise")
    canvas.page.evaluate(PLACES)
    canvas.page.wait_for_timeout(500)
    start, end = canvas.page.evaluate(PLACES)
    canvas.page.mouse.move(*start)
    canvas.page.mouse.down()
    canvas.page.mouse.move(*end, steps=10)
    canvas.page.mouse.up()
    canvas.page.wait_for_timeout(300)
    screenshot(canvas, "model-let-go")
    canvas.page.get_by_role("menuitem", name="put Pair Wan Models between").click()
    assert canvas.slot_faults() == []
    linked = canvas.page.evaluate(
        "() => app.graph.nodes.find(n => n.type === 'LoraRouteByNoise').getInputNode(0)?.getInputNode(0)?.type"
    )
    assert linked == "SplitWanModel"
