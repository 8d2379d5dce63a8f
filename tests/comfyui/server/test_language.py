"""What a run says at the nodes, in the language the frontend is set to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.canvas import Canvas
from harness.client import Client
from harness.workflows import POCKET_LORAS, SHIPPED, pocket_workflow
from playwright.sync_api import Locator, expect

QUICKSTART = next((file for file in SHIPPED if file.stem == "pocket-quickstart"), None)
SECONDS_OF_A_RUN = 180


@pytest.fixture
def chinese(canvas: Canvas, comfy: Client) -> Iterator[Canvas]:
    """The canvas in Chinese, opened anew, as the frontend reads its words and the workflow again when it changes."""
    set_language(canvas, comfy, "zh")
    yield canvas
    set_language(canvas, comfy, "en")


def set_language(canvas: Canvas, comfy: Client, language: str) -> None:
    canvas.set("Comfy.Locale", language)
    canvas.page.wait_for_load_state("networkidle")
    canvas.open(comfy.server.url)
    assert canvas.page.evaluate("() => app.extensionManager.setting.get('Comfy.Locale')") == language


OPEN_TEMPLATE = """async name => {
  const answer = await fetch(`/api/workflow_templates/wanloom/${name}.json`)
  await app.loadGraphData(await answer.json(), true, true, name)
}"""
TITLES = "() => [...app.rootGraph.groups, ...app.rootGraph.nodes].map(item => item.title)"


def results(canvas: Canvas) -> Locator:
    return canvas.page.get_by_label("结果", exact=True)


@pytest.mark.skipif(QUICKSTART is None, reason="no quickstart is shipped")
def test_reports_and_the_plan_are_chinese_and_what_the_server_sends_is_english(chinese: Canvas) -> None:
    chinese.page.evaluate(OPEN_TEMPLATE, QUICKSTART.stem)
    chinese.queue()
    expect(results(chinese).filter(has_text="个张量")).to_have_count(1, timeout=SECONDS_OF_A_RUN * 1000)
    report = results(chinese).filter(has_text="个张量").text_content()
    assert "低噪专家" in report
    assert "已应用" in report
    assert "applied" not in report
    plan = results(chinese).filter(has_text="分界点").filter(has_text="高噪").last
    expect(plan).to_be_attached(timeout=SECONDS_OF_A_RUN * 1000)
    chinese.picture("chinese-quickstart")
    sent = chinese.page.evaluate("() => Object.values(app.nodeOutputs).flatMap(output => output?.text ?? [])")
    assert any("tensors: " in text and "applied" in text for text in sent)


def test_a_refused_row_says_why_in_chinese_at_the_node_and_at_the_row(chinese: Canvas, tmp_path: Path) -> None:
    drop(chinese, pocket_workflow([{"path": "gone.safetensors"}]), tmp_path)
    chinese.go_to("ApplyLoraStack")
    chinese.queue()
    expect(results(chinese).filter(has_text="没有这个文件")).to_contain_text("请选择存在的文件。")
    expect(chinese.page.get_by_label("LoRA 1 结果", exact=True)).to_contain_text("没有这个文件")
    details = "() => Object.values(app.lastNodeErrors ?? {}).flatMap(node => node.errors.map(e => e.details))"
    assert all("没有这个文件" in text for text in chinese.page.evaluate(details))
    chinese.picture("chinese-refused-row")
    chinese.page.keyboard.press("Escape")


def test_a_failed_run_says_why_in_chinese(chinese: Canvas, comfy: Client, tmp_path: Path) -> None:
    loras = comfy.server.base / "models" / "loras"
    loras.mkdir(parents=True, exist_ok=True)
    whole = (POCKET_LORAS / "speed_6steps_high_noise.safetensors").read_bytes()
    (loras / "cut.safetensors").write_bytes(whole[:-100])
    drop(chinese, pocket_workflow([{"path": "cut.safetensors"}]), tmp_path)
    chinese.go_to("ApplyLoraStack")
    chinese.queue()
    shown = results(chinese).filter(has_text="被截断").filter(has_text="loras/cut.safetensors")
    expect(shown).to_be_attached(timeout=SECONDS_OF_A_RUN * 1000)
    expect(chinese.page.get_by_label("LoRA 1 结果", exact=True)).to_contain_text("被截断")
    chinese.picture("chinese-failed-run")
    chinese.page.keyboard.press("Escape")


def test_an_invalid_schedule_is_told_in_chinese(chinese: Canvas, tmp_path: Path) -> None:
    row = {"path": "speed_6steps_high_noise.safetensors", "schedule": "fade_out:0.5:0.9"}
    drop(chinese, pocket_workflow([row]), tmp_path)
    chinese.go_to("ApplyLoraStack")
    shown = chinese.page.get_by_label("LoRA 1 结果", exact=True)
    expect(shown).to_contain_text("请对调两者")


def drop(canvas: Canvas, workflow: dict[str, Any], folder: Path) -> None:
    file = folder / f"language-{folder.name}.json"
    file.write_text(json.dumps(workflow))
    canvas.drop(file)


@pytest.mark.skipif(QUICKSTART is None, reason="no quickstart is shipped")
def test_a_template_opens_in_chinese_and_a_saved_workflow_as_it_is(chinese: Canvas) -> None:
    chinese.page.evaluate(OPEN_TEMPLATE, QUICKSTART.stem)
    assert {"1  模型", "从这里开始"} <= set(chinese.page.evaluate(TITLES))
    chinese.drop(QUICKSTART)
    assert {"1  Model", "Start here"} <= set(chinese.page.evaluate(TITLES))


@pytest.mark.parametrize(("language", "title"), [("zh-CN,zh;q=0.9,en;q=0.8", "1  模型"), ("de,en", "1  Model")])
def test_a_page_without_a_chosen_language_gets_templates_in_its_browsers(
    comfy: Client, language: str, title: str
) -> None:
    settings = f"{comfy.server.url}/api/settings/Comfy.Locale"
    requests.post(settings, data="null", timeout=30).raise_for_status()
    address = f"{comfy.server.url}/api/workflow_templates/wanloom/pocket-quickstart.json"
    answer = requests.get(address, headers={"Accept-Language": language}, timeout=30)
    assert answer.json()["groups"][0]["title"] == title
