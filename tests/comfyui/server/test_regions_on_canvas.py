"""Regions and times on the canvas: the texts of a row, and the workflow that has them, dropped and queued."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness.canvas import Canvas
from harness.client import Client
from harness.workflows import SHIPPED
from playwright.sync_api import Locator, expect

from lora_core.media.video import read_video

FILE = next((file for file in SHIPPED if file.stem == "regional-loras"), None)


@pytest.fixture(autouse=True)
def no_faults_on_the_console(canvas: Canvas) -> Iterator[None]:
    canvas.faults.clear()
    yield
    assert not canvas.faults


def control(canvas: Canvas, name: str) -> Locator:
    return canvas.page.get_by_label(name, exact=True)


def row(canvas: Canvas, number: int) -> dict[str, Any]:
    values = next(values for kind, _, values in canvas.widget_values() if kind == "ApplyLoraStack")
    return json.loads(values[0])[number - 1]


def test_the_workflow_is_dropped_queued_and_shows_each_lora_in_its_place(canvas: Canvas, comfy: Client) -> None:
    canvas.drop(FILE)
    assert not canvas.missing_nodes()
    assert not canvas.slot_faults()
    folder = comfy.server.base / "output" / "wanloom"
    before = set(folder.glob("regional-loras*"))
    canvas.queue()
    canvas.go_to("SaveVideo")
    expect(canvas.page.locator("video")).to_be_visible(timeout=60_000)
    canvas.picture("regional-loras")
    (file,) = set(folder.glob("regional-loras*")) - before
    frames, _ = read_video(file)
    half = frames.shape[2] // 2
    left, right = (np.median(part, axis=(1, 2, 3)) for part in (frames[..., :half, :], frames[..., half:, :]))
    assert right[:7] == pytest.approx(left[:7], rel=0.2)  # before the first second the world is lit
    assert right[-1] < 0.65 * left[-1]  # and at the end it is dark on the right alone
    assert left[-1] == pytest.approx(left[0], rel=0.2)


def test_a_row_says_where_and_when_it_acts(canvas: Canvas) -> None:
    canvas.drop(FILE)
    canvas.go_to("ApplyLoraStack")
    button = control(canvas, "LoRA 2 place")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(control(canvas, "LoRA 2 where")).to_have_text("left")
    expect(control(canvas, "LoRA 1 place")).to_have_attribute("aria-pressed", "false")
    button.click()
    popover = canvas.page.get_by_role("dialog", name="LoRA 2 region and time")
    popover.get_by_role("button", name="until 1s", exact=True).click()
    text = control(canvas, "region as text")
    text.fill("lefft")
    expect(text).to_have_attribute("aria-invalid", "true")
    expect(popover.get_by_role("alert").first).to_contain_text("lefft is no place in a picture")
    assert (row(canvas, 2)["region"], row(canvas, 2)["time"]) == ("left", "until 1s")
    text.fill("not right; soft=0.1")
    text.press("Enter")
    expect(text).to_have_attribute("aria-invalid", "false")
    canvas.page.screenshot(path=canvas.picture("region-popover").with_name("region-popover-open.png"))
    canvas.page.keyboard.press("Escape")
    expect(popover).to_have_count(0)
    assert row(canvas, 2)["region"] == "not right; soft=0.1"
    button.click()
    for name in ("the whole picture", "the whole clip"):
        popover.get_by_role("button", name=name, exact=True).click()
    canvas.page.keyboard.press("Escape")
    assert not {"region", "time"} & set(row(canvas, 2))
    expect(button).to_have_attribute("aria-pressed", "false")
