"""What a run says at the nodes, in the language the frontend is set to."""

from collections.abc import Iterator

import pytest
import requests
from harness.canvas import Canvas
from harness.client import Client
from harness.workflows import SHIPPED
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
