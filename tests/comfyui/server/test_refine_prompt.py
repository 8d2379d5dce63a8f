"""RefinePrompt in a real browser: refined without the video, edited, and the video is made of the edit."""

from collections.abc import Iterator
from typing import Any

import pytest
from harness.canvas import PICTURES, Canvas
from harness.client import Client
from harness.workflows import SHIPPED, node
from playwright.sync_api import Locator, expect

WORKFLOW = next(file for file in SHIPPED if file.stem == "refine-prompt")
REFINED = "a zibbo moves up on a striped background"
EDIT = "a zibbo moves down on a striped background"
NODE = "app.rootGraph.nodes.find(node => node.type === 'RefinePrompt')"
INPUTS = """async () => Object.values((await app.graphToPrompt()).output)
  .find(node => node.class_type === 'RefinePrompt').inputs"""
HISTORY = "() => fetch('/history').then(answer => answer.json())"


@pytest.fixture(params=[False, True], ids=["drawn on the canvas", "drawn by the page"])
def shown(canvas: Canvas, request: pytest.FixtureRequest) -> Iterator[Canvas]:
    canvas.faults.clear()
    canvas.set("Comfy.VueNodes.Enabled", request.param)
    canvas.drop(WORKFLOW)
    canvas.go_to("RefinePrompt")
    yield canvas
    canvas.set("Comfy.VueNodes.Enabled", False)
    assert not canvas.faults


def field(canvas: Canvas) -> Locator:
    """Return the field of the refined text, the second of the node."""
    if canvas.page.evaluate("() => LiteGraph.vueNodesMode"):
        return canvas.page.get_by_label("refined text", exact=True)
    return canvas.page.get_by_placeholder("the refined text, after a run")


def refine_now(canvas: Canvas) -> None:
    if canvas.page.evaluate("() => LiteGraph.vueNodesMode"):
        canvas.page.get_by_role("button", name="refine now").click()
    else:
        canvas.page.evaluate(f"() => {NODE}.widgets.find(widget => widget.type === 'button').callback()")


def sent(canvas: Canvas, name: str) -> Any:
    return canvas.page.evaluate(INPUTS)[name]


def wait_for_run(canvas: Canvas, num_before: int) -> dict[str, Any]:
    """Return the record of the next run, which appears at its end."""
    for _ in range(600):
        runs = list(canvas.page.evaluate(HISTORY).values())
        if len(runs) > num_before:
            return runs[-1]
        canvas.page.wait_for_timeout(100)
    raise TimeoutError("the run did not end")


def test_a_text_is_refined_alone_then_edited_and_the_edit_makes_the_video(shown: Canvas) -> None:
    num_runs = len(shown.page.evaluate(HISTORY))
    refine_now(shown)
    expect(field(shown)).to_have_value(REFINED, timeout=60_000)
    alone = wait_for_run(shown, num_runs)
    assert "10" not in alone["outputs"]  # no video
    report = shown.page.get_by_role("log", name="result")
    expect(report.filter(has_text="before: the zibbo floats up past zebra lines")).to_be_visible()
    assert sent(shown, "edited") == ""  # the refiner's own text would make all behind it run again
    field(shown).fill(EDIT)
    assert sent(shown, "edited") == EDIT
    shown.queue()
    made = wait_for_run(shown, num_runs + 1)
    assert made["outputs"]["3"]["refined"] == [EDIT]
    assert "10" in made["outputs"]
    expect(report.filter(has_text="as you have edited it")).to_be_visible()
    expect(field(shown)).to_have_value(EDIT)
    PICTURES.mkdir(parents=True, exist_ok=True)
    way = "page" if shown.page.evaluate("() => LiteGraph.vueNodesMode") else "canvas"
    shown.page.screenshot(path=PICTURES / f"refine-prompt-{way}.png")
    shown.page.evaluate(f"text => {{ {NODE}.widgets[0].value = text }}", "a zibbo goes right, zebra lines")
    shown.page.evaluate(f"() => app.queuePrompt(0, 1, [String({NODE}.id)])")  # alone, and not by the button
    dropped = wait_for_run(shown, num_runs + 2)["outputs"]["3"]
    assert dropped["refined"] == ["a zibbo moves right on a striped background"]
    assert "your edit was of another text" in dropped["text"][0]
    expect(field(shown)).to_have_value(*dropped["refined"])
    refine_now(shown)
    wait_for_run(shown, num_runs + 3)
    expect(field(shown)).to_have_value(*dropped["refined"])
    assert sent(shown, "edited") == ""


def test_a_server_that_is_down_leaves_the_text_and_is_asked_again_only_if_told(comfy: Client) -> None:
    server = {"refiner": "a server, at the url below", "url": "http://127.0.0.1:9", "write_for": "auto"}
    workflow = {"refine": node("RefinePrompt", text="crimson ball", refine=True, **server)}
    run = comfy.run(workflow)
    assert run.outcome == "success"
    assert run.outputs["refine"]["refined"] == ["crimson ball"]
    assert "http://127.0.0.1:9 cannot be asked" in run.outputs["refine"]["text"][0]
    assert comfy.run(workflow).executed == []
    workflow["refine"]["inputs"]["again"] = 1
    assert comfy.run(workflow).executed == ["refine"]
